"""Requests whose head is no proper one, though it could be read: refused before anything else looks at them.

What such a head means depends on who reads it. A proxy that reads it in another way than the API takes two requests
for one, or a foreign host for the service's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

# A host and a port as they may stand in a URL, without the comma, which would make a list (RFC 9112, section 3.2).
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+(?:%[\w.~%-]+)?\]|[\w.~!$&'()*+;=%-]+)(?::\d{0,5})?", re.ASCII)
_CLOSE = ((b"connection", b"close"),)  # what follows may be meant as a part of the request


@dataclass(frozen=True)
class Refusal:
    """The answer to a request that is not let in."""

    status: int
    title: str
    description: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


def refusal(scope: dict[str, Any]) -> Refusal | None:
    """Why the head of a request is no proper one; None where it is. The connection ends with such a refusal."""
    version, headers = scope["http_version"], scope["headers"]
    if version not in ("1.0", "1.1"):
        return Refusal(
            505,
            title="HTTP version not supported",
            description="This service speaks HTTP/1.1 and HTTP/1.0.",
            headers=_CLOSE,
        )
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) > 1 or not (hosts or version == "1.0"):
        return _bad_request(f"The request has {len(hosts) or 'no'} Host headers; HTTP/1.1 wants one.")
    if hosts and not _HOST.fullmatch(hosts[0].strip(b" \t")):
        return _bad_request(f"The Host header is malformed: {hosts[0][:100].decode('latin-1')!r}.")
    codings = [value for name, value in headers if name == b"transfer-encoding"]
    if codings and version == "1.0":
        return _bad_request("HTTP/1.0 knows no Transfer-Encoding; send a Content-Length, or HTTP/1.1.")
    if codings and [coding.strip().lower() for coding in codings] != [b"chunked"]:
        return Refusal(
            501,
            title="Not implemented",
            description="Of Transfer-Encoding this service knows chunked alone.",
            headers=_CLOSE,
        )
    return None


def _bad_request(description: str) -> Refusal:
    return Refusal(400, title="Bad request", description=description, headers=_CLOSE)
