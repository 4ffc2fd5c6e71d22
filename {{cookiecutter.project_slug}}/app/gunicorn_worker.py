"""gunicorn's asgi worker, but neither idle connections nor a start that is not over yet hold up its end."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.workers import gasgi


class Protocol(ASGIProtocol):
    """One connection, known to its worker."""

    worker: Worker

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self.worker.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.worker.connections.discard(self)
        super().connection_lost(exc)


class Worker(gasgi.ASGIWorker):
    """Ends at once while it starts; later closes what is idle and finishes the requests in work."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connections: set[Protocol] = set()

    def init_signals(self) -> None:
        # The loop's handlers are not called before it runs, and importing the user's pipeline may take long.
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)

    async def _serve(self) -> None:
        super().init_signals()
        await super()._serve()

    async def _shutdown(self) -> None:
        # For up to a second before this, answers have said `Connection: close`: clients that are busy have left.
        # Who keeps a connection open for its next request would hold up the end for `graceful_timeout`.
        for connection in list(self.connections):
            if connection._awaiting_request:
                connection._keepalive_timeout()
        await super()._shutdown()


gasgi.ASGIProtocol = Protocol  # the worker looks it up there
