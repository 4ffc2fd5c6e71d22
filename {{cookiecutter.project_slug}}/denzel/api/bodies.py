"""What a body is that is no JSON, in words that tell its sender what to do."""

from __future__ import annotations

import re

import falcon
import falcon.asgi

from denzel.api.answers import Malformed

_SEND = """Send one JSON document as the body, as in: curl URL -H 'Content-Type: application/json' -d '{"data": ...}'"""
_FIELD = re.compile(rb"[^\s=&{\[\"]+=")
# curl says it of whatever it sends
_SAYS_NOTHING = {"", "application/x-www-form-urlencoded", "application/octet-stream"}


def refuse_encoding(req: falcon.asgi.Request) -> None:
    """Refuse a body that is compressed; whatever its Content-Type, it is read as JSON.

    Raises:
        falcon.HTTPUnsupportedMediaType: it has a Content-Encoding.
    """
    encoding = (req.get_header("Content-Encoding") or "identity").strip()
    if encoding.lower() != "identity":
        raise falcon.HTTPUnsupportedMediaType(
            title="Unsupported Content-Encoding",
            description=f"The request body is encoded ({encoding[:40]!r}). Send it as it is, without Content-Encoding.",
            headers={"Accept-Encoding": "identity"},
        )


def malformed(req: falcon.asgi.Request, body: bytes | bytearray, error: ValueError) -> Malformed:
    """The error for a body that is not JSON."""
    if not body:
        return Malformed("the request has no body")
    found = _kind(req.content_type or "", body)
    return Malformed(
        str(error), f"Could not decode the request body: it is {found}, not JSON. {_SEND}" if found else ""
    )


def _kind(content_type: str, body: bytes | bytearray) -> str:
    """What a body that is no JSON is meant to be; empty where it looks like JSON with a mistake, or like nothing."""
    media_type = content_type.partition(";")[0].strip().lower()
    text = body.lstrip()
    if media_type.startswith("multipart/") or (text.startswith(b"--") and b"ontent-" in text[:500]):
        return "form data (multipart)"
    if text[:1] in (b"{", b"[", b'"') or body[:2] in (b"\xff\xfe", b"\xfe\xff"):  # in UTF-16
        return ""
    if body.startswith(b"\x1f\x8b"):
        return "compressed (gzip)"
    if media_type == "application/x-www-form-urlencoded" and _FIELD.match(text):
        return "form fields (name=value)"
    if media_type not in _SAYS_NOTHING and "json" not in media_type:
        return f"of the type {media_type[:60]}"
    try:
        body.decode()
    except UnicodeDecodeError:
        return "binary data"
    return ""
