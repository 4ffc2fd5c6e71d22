"""Signatures of callbacks after the Standard Webhooks specification (https://www.standardwebhooks.com).

The standard library alone: the commands and the plugin's tests check signatures with it, too.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable


def read_secret(text: str) -> bytes:
    """The key in CALLBACK_SECRET; empty when there is none.

    Raises:
        ValueError: it is not `whsec_` and base64.
    """
    encoded = text.strip().removeprefix("whsec_").rstrip("=")
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("CALLBACK_SECRET cannot be read; expected whsec_ and base64") from None


def split_secrets(text: str) -> tuple[str, ...]:
    """The secrets in CALLBACK_SECRET as they stand there, separated by commas: the one in use first."""
    return tuple(filter(None, (part.strip() for part in text.split(","))))


def read_secrets(text: str) -> tuple[bytes, ...]:
    """The keys in CALLBACK_SECRET, which may hold several secrets, separated by commas.

    Raises:
        ValueError: one of them is not `whsec_` and base64.
    """
    return tuple(filter(None, map(read_secret, split_secrets(text))))


def signatures(keys: Iterable[bytes], message_id: str, timestamp: str, body: bytes) -> str:
    """The header `webhook-signature` with a signature by each key: a receiver takes it when it knows one of them."""
    return " ".join(signature(key, message_id, timestamp, body) for key in keys)


def is_signed(given: str, keys: Iterable[bytes], message_id: str, timestamp: str, body: bytes) -> bool:
    """Whether one of the signatures in a header was made by one of the keys."""
    expected = [signature(key, message_id, timestamp, body).encode() for key in keys]
    return any(hmac.compare_digest(one, other.encode()) for one in expected for other in given.split())


def signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    """One of the header `webhook-signature`: version, and HMAC-SHA256 over `id.timestamp.body` in base64."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
