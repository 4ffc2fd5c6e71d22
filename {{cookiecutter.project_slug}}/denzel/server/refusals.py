"""Refusals by the server itself: small ASGI applications in the place of the API's, which end the connection."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from denzel import jsonio

# Bytes that a request's URL and headers together may have, and the empty lines before them.
MOST_HEAD_BYTES = 65_536
HEAD_TOO_LARGE: dict[str, Any] = {
    "status": 431,
    "title": "Request head too large",
    "description": f"URL and headers may have {MOST_HEAD_BYTES} bytes.",
}
_FULL: dict[str, Any] = {
    "status": 503,
    "title": "Too many connections",
    "description": "There are too many connections; try again.",
}


async def answer_full(scope: Any, receive: Any, send: Any) -> None:
    """Answer that there are too many connections."""
    await _refuse(send, **_FULL, headers=[(b"retry-after", b"1")])


async def answer_head_too_large(scope: Any, receive: Any, send: Any) -> None:
    """Answer that a head is too large, of which all has come."""
    await _refuse(send, **HEAD_TOO_LARGE)


async def _refuse(
    send: Any, status: int, title: str, description: str, headers: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    body = jsonio.dumps({"title": title, "description": description})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", secrets.token_hex(16).encode()),
        *headers,
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
