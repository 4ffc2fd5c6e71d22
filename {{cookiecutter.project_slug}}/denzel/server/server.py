"""One process of the API under gunicorn: how it serves, and how it leaves.

Nothing that a client has sent is dropped: a process that leaves answers every request that has reached it, and tells
each connection by `Connection: close` that the next request belongs on a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import time
from typing import Any

import uvicorn
from gunicorn.arbiter import Arbiter
from uvicorn_worker import UvicornWorker

from denzel.server.board import ACCEPTING, BOARD, LEAVING, SPENT, STARTING
from denzel.server.keeper import Bounds, Keeper
from denzel.server.protocol import Protocol
from denzel.settings import Settings, get_settings

# Seconds for which connections on which nothing is under way are kept by a process that leaves: a request may be on
# its way.
_LINGER = 1.0


class Server(uvicorn.Server):
    """Uvicorn's server; `app` is what `create_app` returned.

    Args:
        age: gunicorn's number of this process.
        patience: seconds after which clients that still wait for predictions get their task's id instead.
        settings: bounds on connections; unless given, the environment's.
    """

    def __init__(
        self, config: uvicorn.Config, app: Any, age: int, patience: float, settings: Settings | None = None
    ) -> None:
        super().__init__(config)
        settings = settings or get_settings()
        self._keeper = Keeper(Bounds.of(settings), self.server_state.connections, settings.api_connections)
        self.server_state.keeper = self._keeper  # type: ignore[attr-defined]
        self._app = app
        self._age = age
        self._patience = patience

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._keeper.start()
        await super().startup(sockets)
        # What is there by now stays: looking through all of it for garbage would hold up every request for 0.1 s.
        gc.collect()
        gc.freeze()
        self._app.run_short_calls_on_loop()
        if self.started:
            BOARD.set_state(self._age, ACCEPTING)
            self._app.tell_when_spent(self._is_spent)

    def _is_spent(self) -> None:
        """User code that never ends takes a core: another process is to take the place of this one."""
        if BOARD.state(self._age) == ACCEPTING:
            BOARD.set_state(self._age, SPENT)

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
        self._keeper.stop()

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
