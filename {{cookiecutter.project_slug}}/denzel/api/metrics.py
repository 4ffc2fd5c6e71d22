"""GET /metrics, and how answers to POST /predict are counted that go the usual way: as they are sent, by their status.

Those of the quick way are counted where it writes them (`quick`).
"""

from __future__ import annotations

import time
from typing import Any

import falcon.asgi

from denzel.metrics import families
from denzel.metrics.counts import COUNTS
from denzel.metrics.figures import Figures

# The name of a request's `Answer` in its scope; of when it had come, where the quick way has begun with it.
ANSWER = "denzel.answer"
BEGAN = "denzel.began"

_OUTCOMES = {202: "timeout", 409: "cancelled", 429: "busy", 503: "unavailable"}


class Answer:
    """The answer to a request to POST /predict, counted once, when it has been sent.

    Attributes:
        arrived: when the task's outcome was there (`time.perf_counter`); 0: there is none.
    """

    __slots__ = ("_began", "_connection", "_send", "_start", "arrived")

    def __init__(self, scope: dict[str, Any], send: Any) -> None:
        scope[ANSWER] = self
        self._began = scope.get(BEGAN) or time.perf_counter()
        self._connection = scope.get("denzel.connection")  # of our own server
        self._send = send
        self._start: dict[str, Any] | None = None
        self.arrived = 0.0

    async def send(self, message: dict[str, Any]) -> None:
        """Send on, in the place of the server's own."""
        if self._start is None:
            self._start = message
        await self._send(message)

    def count(self) -> None:
        """Nothing more is sent."""
        COUNTS.answered(self._outcome, self._began, self.arrived)

    @property
    def _outcome(self) -> str:
        if self._start is None or (self._connection and self._connection.is_gone):
            return "gone"
        status = self._start["status"]
        if status == 200:
            has_task = any(name == b"location" for name, _ in self._start.get("headers", ()))
            return "accepted" if has_task else "success"
        return _OUTCOMES.get(status) or ("refused" if status < 500 else "failure")


class Metrics:
    """GET /metrics: what is known of the whole service, whichever process answers."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        known = await self._figures.known()
        resp.data, resp.content_type = families.text(known, req.get_header("Accept") or "")
        resp.set_header("Cache-Control", "no-store")

    on_head = on_get
