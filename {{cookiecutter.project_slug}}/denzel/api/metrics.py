"""GET /metrics, and how answers to POST /predict are counted that go the usual way: as they are sent, by their status.

Those of the quick way are counted where it writes them (`quick`).
"""

from __future__ import annotations

import asyncio
from functools import partial
from http import HTTPStatus
from typing import Any

import falcon.asgi

from denzel.api.exchange import CLIENT_GONE, Exchange
from denzel.metrics import families
from denzel.metrics.counts import COUNTS
from denzel.metrics.figures import Figures

_OUTCOMES = {202: "timeout", 409: "cancelled", 429: "busy", 503: "unavailable"}


def count(exchange: Exchange, connection: Any) -> None:
    """Count how a request to POST /predict has ended.

    Args:
        connection: of our own server; None of another's.
    """
    COUNTS.answered(_outcome(exchange, connection), exchange.began, exchange.answered)


def _outcome(exchange: Exchange, connection: Any) -> str:
    status = exchange.status
    if status == CLIENT_GONE or (connection and connection.is_gone):
        return "gone"
    if status == HTTPStatus.OK:
        return "accepted" if exchange.has_location else "success"
    return _OUTCOMES.get(status) or ("refused" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "failure")


class Metrics:
    """GET /metrics: what is known of the whole service, whichever process answers."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        known = await self._figures.known()
        # It takes some milliseconds, in which this process would answer nobody.
        text = partial(families.text, known, req.get_header("Accept") or "")
        resp.data, resp.content_type = await asyncio.to_thread(text)
        resp.set_header("Cache-Control", "no-store")

    on_head = on_get
