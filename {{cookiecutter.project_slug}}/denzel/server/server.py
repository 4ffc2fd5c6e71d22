"""The API's processes under gunicorn: how one serves, how it leaves, and how all of them are replaced.

Nothing that a client has sent is dropped: a process that leaves answers every request that has reached it, and tells
each connection by `Connection: close` that the next request belongs on a new one. On SIGHUP new processes, with the
code of now, come up before the old ones leave; the listening socket stays open all the while.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import queue
import re
import signal
import socket
import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import uvicorn
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn_worker import UvicornWorker

from denzel import jsonio
from denzel.server.board import ACCEPTING, BOARD, LEAVING, STARTING

# Seconds for which connections on which nothing is under way are kept by a process that leaves: a request may be on
# its way.
_LINGER = 1.0
# Seconds within which a process that was told to leave must have stopped to accept.
_STOPS_ACCEPTING = 10.0
# A request's URL and headers together may have so many bytes.
MOST_HEAD_BYTES = 65_536
# So many may come of a body without any of its content (then they are trailers); one read brings this many at the most.
_MOST_EMPTY_BYTES = 262_144
_UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class Protocol(HttpToolsProtocol):
    """Uvicorn's protocol, which takes requests that offer to upgrade, bounds their heads, and refuses in JSON."""

    _head_bytes: int | None = None  # of a request's head that is not complete yet
    _in_body = False
    _empty_bytes = 0  # since the body's last content
    _held = b""  # the end of what has come of a head, if it may be the begin of an offer
    _deaf = False  # nothing more is read from this connection

    def connection_made(self, transport: Any) -> None:
        super().connection_made(_Joining(transport, self.loop))  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        if self._head_bytes is not None:
            self._head_bytes += len(data)
        if self._in_body:
            self._empty_bytes += len(data)
        else:
            data, self._held = _without_upgrade(self._held + data)
        if self._deaf:
            return
        if max(self._head_bytes or 0, len(self._held)) > MOST_HEAD_BYTES:
            self._refuse(431, "Request head too large", f"URL and headers may have {MOST_HEAD_BYTES} bytes.")
        elif self._empty_bytes > _MOST_EMPTY_BYTES:
            self._refuse(431, "Request trailers too large", f"Trailers may have {_MOST_EMPTY_BYTES} bytes.")
        else:
            super().data_received(data)

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_bytes, self._in_body, self._empty_bytes = None, True, 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._empty_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """An offer that was not seen, as its head came together with other requests: what follows makes no sense."""
        self.cycle.keep_alive = False
        self._deaf = True

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "Bad request", msg)

    def _refuse(self, status: int, title: str, description: str) -> None:
        body = jsonio.dumps({"title": title, "description": description})
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
        self._deaf = True


class _Joining:
    """A transport that sends what begins a response, its head, together with what follows in the same moment.

    uvloop makes a system call for each piece, which wakes the client for a head without a body.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send data, or hold it until the event loop's next turn."""
        if self._head:
            head, self._head = self._head, b""
            self._transport.writelines((head, data))
        elif data.startswith(b"HTTP/"):
            self._head = data
            self._loop.call_soon(self._flush)
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Close the connection when all is sent."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        head, self._head = self._head, b""
        if head and not self._transport.is_closing():
            self._transport.write(head)


def _without_upgrade(data: bytes) -> tuple[bytes, bytes]:
    """A request's head (a part of it) without the offer of another protocol, and what can only be judged with the rest.

    A server may ignore such offers (RFC 9110, section 7.8), but httptools would end the request there, without its
    body. Java's client, for one, offers HTTP/2 with each request.
    """
    held = b""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        end = len(data)
        line = max(0, data.rfind(b"\r\n"))  # the last one, with the break before it
        if data.endswith(b"\r") or b"\r\nupgrade:".startswith(data[line : line + 10].lower()):
            data, held = data[:line], data[line:]
    if b"\r\nupgrade:" in data[:end].lower():
        data = _UPGRADE.sub(b"", data[:end]) + data[end:]
    return data, held


class Server(uvicorn.Server):
    """Uvicorn's server; `app` is what `create_app` returned.

    Args:
        age: gunicorn's number of this process.
        patience: seconds after which clients that still wait for predictions get their task's id instead.
    """

    def __init__(self, config: uvicorn.Config, app: Any, age: int, patience: float) -> None:
        super().__init__(config)
        self._app = app
        self._age = age
        self._patience = patience

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # What is there by now stays: looking through all of it for garbage would hold up every request for 0.1 s.
        gc.collect()
        gc.freeze()
        self._app.run_short_calls_in_place()
        if self.started:
            BOARD.set_state(self._age, ACCEPTING)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop to accept, answer what has come, and close the connections one by one."""
        listeners = [sock.dup() for sock in sockets or []]
        for server in self.servers:
            server.close()
        for sock in sockets or []:
            sock.close()
        await asyncio.sleep(0)  # the event loop lets go of its descriptor, too
        for listener in listeners:
            await self._accept_the_last(listener)
        BOARD.set_state(self._age, LEAVING)
        self._app.leave()
        timer = asyncio.get_running_loop().call_later(self._patience, self._app.end_waits)
        for connection in list(self.server_state.connections):
            cycle = getattr(connection, "cycle", None)
            if cycle is not None and not cycle.response_complete:
                connection.shutdown()  # after this answer
        until = time.monotonic() + _LINGER
        while self.server_state.connections and time.monotonic() < until:
            await asyncio.sleep(0.02)
        await super().shutdown()
        timer.cancel()

    async def _accept_the_last(self, listener: socket.socket) -> None:
        """Take the connections that the kernel has made by now: a closed listener would reset them."""
        accepted = []
        listener.setblocking(False)
        with contextlib.suppress(OSError):  # there is no other, as a rule
            while True:
                accepted.append(listener.accept()[0])
        listener.close()
        for connection in accepted:
            connection.setblocking(False)
            with contextlib.suppress(OSError):  # the client has gone already
                await asyncio.get_running_loop().connect_accepted_socket(self._create_protocol, connection)

    def _create_protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )


class Worker(UvicornWorker):
    """Uvicorn's protocol under gunicorn: of a request to /predict, its share costs a third less than gunicorn's own."""

    CONFIG_KWARGS = {  # noqa: RUF012
        "loop": "auto",
        "http": Protocol,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,  # nobody asks for the client's address
    }
    PATIENCE = 25.0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        BOARD.set_state(self.age, STARTING)

    async def _serve(self) -> None:
        self.config.app = self.wsgi
        server = Server(self.config, self.wsgi, self.age, self.PATIENCE)
        self._install_sigquit_handler()
        await server.serve(sockets=self.sockets)
        if not server.started:
            raise SystemExit(Arbiter.WORKER_BOOT_ERROR)


def reload(server: Arbiter) -> None:
    """Replace the processes; when new ones do not come up, the old ones stay.

    Takes the place of gunicorn's own way, which stops the old ones at once: clients would wait for as long as a
    pipeline takes to be imported.
    """
    BOARD.begin()
    old = dict(server.WORKERS)
    new = [server.spawn_worker() for _ in range(server.num_workers)]  # does not return in the new processes
    has_come_up = _come_up(server, new)
    if _told_to_stop(server):  # which ends the new ones too
        return
    if not has_come_up:
        server.log.error("The new API processes do not start; those from before go on")
        for pid in new:
            if worker := server.WORKERS.pop(pid, None):
                server.kill_worker(pid, signal.SIGTERM)
                worker.tmp.close()
        BOARD.end(done=False)
        return
    for pid in old:
        server.kill_worker(pid, signal.SIGTERM)
    until = time.monotonic() + _STOPS_ACCEPTING
    while _accepting(server, old) and time.monotonic() < until:
        time.sleep(0.02)
        server.reap_workers()
    BOARD.end(done=True)
    server.log.info("New API processes have taken over")


def stop(server: Arbiter, graceful: bool = True) -> None:
    """Stop all processes, those first that have not served yet.

    They hold the listening socket without accepting from it: what connects when the others have closed theirs would be
    reset.
    """
    for pid, worker in list(server.WORKERS.items()):
        if BOARD.state(worker.age) == STARTING:
            server.kill_worker(pid, signal.SIGKILL)
    until = time.monotonic() + _STOPS_ACCEPTING
    while any(BOARD.state(worker.age) == STARTING for worker in server.WORKERS.values()) and time.monotonic() < until:
        time.sleep(0.005)
        with contextlib.suppress(HaltServer):
            server.reap_workers()
    Arbiter.stop(server, graceful)


def _accepting(server: Arbiter, pids: Iterable[int]) -> bool:
    """Whether one of these processes still accepts connections."""
    return any(BOARD.state(server.WORKERS[pid].age) == ACCEPTING for pid in pids if pid in server.WORKERS)


def _come_up(server: Arbiter, new: list[int]) -> bool:
    """Wait until the new processes accept connections; False when one ends instead, or all are to stop."""
    while True:
        try:
            server.reap_workers()
        except HaltServer:  # it could not even start
            return False
        server.murder_workers()
        workers = [server.WORKERS.get(pid) for pid in new]
        if None in workers or _told_to_stop(server):
            return False
        if all(BOARD.state(worker.age) == ACCEPTING for worker in workers):
            return True
        time.sleep(0.05)


def _told_to_stop(server: Arbiter) -> bool:
    """Whether a signal to stop waits to be handled; it goes on waiting."""
    waiting = []
    while True:
        try:
            waiting.append(server.SIG_QUEUE.get_nowait())
        except queue.Empty:
            break
    for number in waiting:
        server.SIG_QUEUE.put_nowait(number)
    return any(number in _STOP_SIGNALS for number in waiting)
