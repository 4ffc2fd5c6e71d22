"""Receivers of callbacks, which misbehave in many ways if they are told to."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.waiting import eventually


@dataclass(frozen=True)
class Reply:
    """What a receiver does with a request: answer, after a while."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"thanks"
    after: float = 0.0


HANG = Reply(after=3600)
DROP = Reply(status=0)  # close the connection without an answer
ENDLESS = Reply(body=b"", status=-1)  # a body that never ends
CLOSE_SILENTLY = Reply(headers={"X-Then": "close"})  # answer, and close as soon as the next request comes


@dataclass
class Received:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    at: float
    answered: int

    @property
    def task_id(self) -> str:
        return self.headers["webhook-id"]


class Receiver:
    """An HTTP server that answers with the given replies in order; the last one is repeated."""

    def __init__(self, replies: Sequence[Reply]) -> None:
        self.replies = list(replies)
        self.received: list[Received] = []
        self.connections = 0
        self.port = 0
        self.open = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/inbox"

    def ids(self) -> set[str]:
        """The tasks whose callbacks came."""
        return {request.task_id for request in list(self.received)}

    def wait(self, count: int = 1, timeout: float = 15.0) -> list[Received]:
        """The requests, once there are so many."""
        eventually(lambda: len(self.received) >= count, f"{count} callbacks at port {self.port}", timeout)
        return list(self.received)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        number = self.connections
        closing = False
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode("latin-1").split("\r\n")
                headers = {
                    name.strip().lower(): value.strip()
                    for name, _, value in (line.partition(":") for line in lines[1:-2])
                }
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                if closing:
                    return
                reply = self.replies[0] if len(self.replies) == 1 else self.replies.pop(0)
                self.received.append(Received(lines[0].split()[1], headers, body, number, time.time(), reply.status))
                await asyncio.sleep(reply.after)
                if reply is DROP:
                    return
                if reply is ENDLESS:
                    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    while True:
                        writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
                        await writer.drain()
                extra = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
                writer.write(
                    f"HTTP/1.1 {reply.status} X\r\n{extra}Content-Length: {len(reply.body)}\r\n\r\n".encode()
                    + reply.body
                )
                closing = reply is CLOSE_SILENTLY
                if reply.headers.get("Connection") == "close":
                    return
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()


class Receivers:
    """Any number of receivers on one thread. Use it as a context manager."""

    def __enter__(self) -> Receivers:
        self._loop = asyncio.new_event_loop()
        self._servers: list[asyncio.Server] = []
        self._thread = threading.Thread(target=self._loop.run_forever, name="receivers")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def open(
        self, *replies: Reply, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> Receiver:
        """A new receiver."""
        receiver = Receiver(replies or [Reply()])

        async def listen() -> int:
            server = await asyncio.start_server(receiver._serve, host, port, backlog=1024, ssl=tls)
            self._servers.append(server)
            return server.sockets[0].getsockname()[1]

        receiver.port = asyncio.run_coroutine_threadsafe(listen(), self._loop).result(10)
        return receiver


class Inbox:
    """A receiver that takes every callback, and gives them by task. A context manager.

    Args:
        listens: the address of this machine that it listens at.
        known_as: the host name by which those who send know this machine.
    """

    def __init__(self, listens: str = "127.0.0.1", known_as: str = "127.0.0.1") -> None:
        self._listens = listens
        self._known_as = known_as
        self._receivers = Receivers()

    def __enter__(self) -> Inbox:
        self._receivers.__enter__()
        self._receiver = self._receivers.open(Reply(204, body=b""), host=self._listens)
        return self

    def __exit__(self, *exception: object) -> None:
        self._receivers.__exit__(*exception)

    @property
    def address(self) -> str:
        """Its host and port, as those who send know them."""
        return f"{self._known_as}:{self._receiver.port}"

    @property
    def url(self) -> str:
        """Where callbacks are to be sent."""
        return f"http://{self.address}/callback"

    def wait_for(self, task_id: str, timeout: float = 20) -> Any:
        """The JSON that came for the task last."""

        def arrived() -> list[Received]:
            return [request for request in list(self._receiver.received) if request.task_id == task_id]

        what = f"a callback for {task_id} came"
        request = eventually(arrived, lambda: f"{what}; there are {self._receiver.ids()}", timeout)[-1]
        assert request.headers["content-type"] == "application/json"
        return json.loads(request.body)
