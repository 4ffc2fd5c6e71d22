"""The signatures of callbacks: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md"""

from __future__ import annotations

import base64
import hmac
import secrets
import time
from collections.abc import Mapping

# How far a callback's timestamp may be from this machine's clock, in seconds.
TOLERANCE = 300

HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


class BadSignature(AssertionError):
    """A callback that its receiver should not trust; the message says why."""


def new_secret() -> str:
    """A secret that nobody else has, as CALLBACK_SECRET takes it."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(36)).decode()}"


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of the header `webhook-signature`, as the service of the project under test makes it.

    Raises:
        ValueError: the secret is not of the form of CALLBACK_SECRET.
    """
    from denzel import testing

    try:
        return testing.signature(secret, message_id, str(timestamp), body)
    except ValueError:
        raise ValueError("a webhook secret is `whsec_` and base64, as CALLBACK_SECRET in .env") from None


def verify(secret: str, headers: Mapping[str, str], body: bytes, now: float | None = None) -> None:
    """Check that a callback was signed with the secret, a short while ago.

    Raises:
        BadSignature: it was not; the message says what is wrong.
    """
    if missing := [name for name in HEADERS if not headers.get(name)]:
        raise BadSignature(f"the callback is not signed: it lacks the header {', '.join(missing)}")
    message_id, timestamp, signatures = (headers[name] for name in HEADERS)
    if not timestamp.isascii() or not timestamp.isdigit():
        raise BadSignature(f"webhook-timestamp is {timestamp!r}, not unix seconds")
    age = (time.time() if now is None else now) - int(timestamp)
    if abs(age) > TOLERANCE:
        raise BadSignature(f"webhook-timestamp is {abs(age):.0f} s in the {'past' if age > 0 else 'future'}")
    expected = sign(secret, message_id, int(timestamp), body).encode()
    # several secrets may be in use while one is rotated: any signature will do
    if not any(hmac.compare_digest(expected, given.encode()) for given in signatures.split()):
        raise BadSignature("webhook-signature does not fit the body: another secret, or a changed body")
