"""Cross-origin requests (CORS, https://fetch.spec.whatwg.org/#http-cors-protocol): which pages may use the service.

A browser keeps the answers to pages that are not named, but it sends their requests, and what these do is done. So
requests of such pages are refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

_METHODS = b"GET, HEAD, POST, DELETE"
_REQUEST_HEADERS = (
    b"Content-Type, Prefer, Idempotency-Key, Authorization, X-API-Key, X-Request-Id, traceparent, tracestate"
)
_EXPOSED = b"Denzel-Model, Denzel-Task-Id, Location, Preference-Applied, Retry-After, Server-Timing, X-Request-Id"
_MAX_AGE = b"600"  # seconds for which a browser need not ask again

Send = Callable[[dict[str, Any]], Awaitable[None]]


class Cors:
    """Adds to answers what lets pages of these origins read them; all answers, errors too.

    Args:
        origins: CORS_ORIGINS as the settings hold it; empty: nothing is added, and browsers keep answers from pages.
    """

    def __init__(self, origins: str) -> None:
        self._origins = {origin.encode() for origin in origins.split(",") if origin}
        self._any = b"*" in self._origins

    def __bool__(self) -> bool:
        return bool(self._origins)

    def is_foreign(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether a page of another origin sends the request, and none that is named.

        What is no page sends no `Origin`. A page of the service's own has the host as its origin that it asks; where a
        proxy changes that, browsers say so themselves (`Sec-Fetch-Site`, which no script can set).
        """
        origins = [value.lower() for name, value in headers if name == b"origin"]
        if not origins or self._any:
            return False
        found = {name: value.lower() for name, value in headers}
        if found.get(b"sec-fetch-site") == b"same-origin":
            return False
        own = found.get(b"host", b"")
        return any(origin not in self._origins and origin.partition(b"://")[2] != own for origin in origins)

    def asks(self, scope: dict[str, Any]) -> bool:
        """Whether a browser asks if a page may send a request; it brings no key."""
        names = {name for name, _ in scope["headers"]}
        return bool(self) and scope["method"] == "OPTIONS" and {b"origin", b"access-control-request-method"} <= names

    def preflight(self, scope: dict[str, Any]) -> list[tuple[bytes, bytes]] | None:
        """The headers of the answer (204) to a browser's question whether it may send a request; None if it is none."""
        if not self.asks(scope):
            return None
        headers = self._headers(scope["headers"])
        if headers and headers[0][0] == b"access-control-allow-origin":
            headers += [
                (b"access-control-allow-methods", _METHODS),
                (b"access-control-allow-headers", _REQUEST_HEADERS),
                (b"access-control-max-age", _MAX_AGE),
            ]
        return headers

    def sending(self, scope: dict[str, Any], send: Send) -> Send:
        """The same `send`, which adds the headers that belong to the answer of this request."""
        headers = self._headers(scope["headers"])

        async def send_with_headers(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *headers]}
            await send(message)

        return send_with_headers

    def _headers(self, request: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        exposed = (b"access-control-expose-headers", _EXPOSED)
        if self._any:
            return [(b"access-control-allow-origin", b"*"), exposed]
        vary = (b"vary", b"Origin")  # for caches: the answer to another origin is another one
        origin = next((value for name, value in request if name == b"origin"), b"").lower()
        return [(b"access-control-allow-origin", origin), exposed, vary] if origin in self._origins else [vary]
