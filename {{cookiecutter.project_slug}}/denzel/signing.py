"""Signatures of callbacks after the Standard Webhooks specification (https://www.standardwebhooks.com).

The standard library alone: the commands and the plugin's tests check signatures with it, too.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac


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


def signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    """The header `webhook-signature`: version, and HMAC-SHA256 over `id.timestamp.body` in base64."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
