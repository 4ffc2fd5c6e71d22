"""For the tests of callbacks: receivers that misbehave in many ways, tasks that have ended, the sending process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from tests.support.services import Service, eventually


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


class Sending:
    """The process that sends callbacks, and the tasks it knows of."""

    def __init__(self, service: Service, **settings: str | float) -> None:
        self.service = service
        self.settings = {"CALLBACK_ALLOW": "127.0.0.1", **settings}
        self._process: subprocess.Popen | None = None
        self._log = service.project / ".test-logs" / "callbacks.log"

    @property
    def redis(self) -> redis.Redis:
        return self.service.redis

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def __enter__(self) -> Sending:
        self.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind:
            print("--- callbacks", self.log(), sep="\n")
        if self._process:
            self._process.kill()
            self._process.wait()

    def start(self) -> None:
        """Start the process."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "denzel.callbacks"],
                cwd=self.service.project,
                env=self.service.environment | {name: str(value) for name, value in self.settings.items()},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self) -> None:
        """kill -9."""
        os.kill(self.pid, signal.SIGKILL)
        assert self._process
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process
        self._process.terminate()
        return self._process.wait(15)

    def log(self) -> str:
        """What the process wrote."""
        return self._log.read_text() if self._log.exists() else ""

    def memory(self) -> float:
        """The process's resident memory in MiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def finish(self, uri: str, *, count: int = 1, due: float = 0.0, wake: bool = True, **fields: Any) -> list[str]:
        """Tasks that have just ended, as `store` leaves them: their ids."""
        ids = [str(uuid.uuid4()) for _ in range(count)]
        now = time.time()
        pipeline = self.redis.pipeline(transaction=False)
        for task_id in ids:
            record = {"status": "SUCCESS", "mode": "async", "result": json.dumps({"id": task_id}), "accepted": now,
                      "ended": now, "callback_uri": uri, **fields}  # fmt: skip
            pipeline.hset(f"denzel:task:{task_id}", mapping=record)
            pipeline.expire(f"denzel:task:{task_id}", 86_400)
            pipeline.zadd("denzel:callbacks", {task_id: now + due})
        if wake:
            pipeline.publish("denzel:callbacks:wake", "")
        pipeline.execute()
        return ids

    def fill(self, uri: str, count: int) -> None:
        """So many retries (a multiple of 1000) that are not due for an hour."""
        script = """
        for i = ARGV[2], ARGV[2] + 999 do
            redis.call('HSET', 'denzel:task:' .. i, 'status', 'SUCCESS', 'mode', 'async', 'result', '{}',
                       'callback_uri', ARGV[1], 'callback', '{"state": "pending", "attempts": 9}')
            redis.call('ZADD', 'denzel:callbacks', ARGV[3] + i / 1000, i)
        end
        """
        for first in range(1, count, 1000):
            self.redis.eval(script, 0, uri, first, time.time() + 3600)

    def state(self, task_id: str) -> dict[str, Any]:
        """How a delivery stands."""
        return json.loads(self.redis.hget(f"denzel:task:{task_id}", "callback") or "{}")

    def wait(self, task_id: str, timeout: float = 15.0, **wanted: Any) -> dict[str, Any]:
        """How a delivery stands, once it stands so."""

        def reached() -> dict[str, Any] | None:
            state = self.state(task_id)
            return state if wanted.items() <= state.items() else None

        return eventually(reached, f"{wanted} in {self.state(task_id)}", timeout)

    def make_due(self, task_id: str) -> None:
        """Let the time pass until a retry."""
        self.redis.zadd("denzel:callbacks", {task_id: time.time()}, xx=True)
        self.redis.publish("denzel:callbacks:wake", "")

    def left(self) -> int:
        """Callbacks that have not ended."""
        return self.redis.zcard("denzel:callbacks")
