"""Signatures, against the reference implementation of the Standard Webhooks."""

from __future__ import annotations

import time
from datetime import datetime, timezone

import pytest
from standardwebhooks import Webhook

from pytest_denzel.callbacks.webhooks import BadSignature, new_secret, sign, verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"a123":"Iris-setosa"}'
NOW = 1_700_000_000


def headers(signature: str, timestamp: int = NOW) -> dict[str, str]:
    return {"webhook-id": "task-1", "webhook-timestamp": str(timestamp), "webhook-signature": signature}


def test_signatures_are_those_of_the_reference_implementation() -> None:
    reference = Webhook(SECRET).sign("task-1", datetime.fromtimestamp(NOW, timezone.utc), BODY.decode())
    assert sign(SECRET, "task-1", NOW, BODY) == reference
    verify(SECRET, headers(reference), BODY, now=NOW)


def test_the_reference_implementation_accepts_a_new_secret_and_our_signature() -> None:
    secret, now = new_secret(), int(time.time())
    signed = headers(sign(secret, "task-1", now, BODY), now)
    assert Webhook(secret).verify(BODY, signed) == {"a123": "Iris-setosa"}


def test_any_of_several_signatures_will_do() -> None:
    other, right = sign(new_secret(), "task-1", NOW, BODY), sign(SECRET, "task-1", NOW, BODY)
    verify(SECRET, headers(f"{other} v2,abc {right}"), BODY, now=NOW)


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_named(missing: str) -> None:
    signed = headers(sign(SECRET, "task-1", NOW, BODY))
    del signed[missing]
    with pytest.raises(BadSignature, match=f"not signed: it lacks the header {missing}$"):
        verify(SECRET, signed, BODY, now=NOW)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"webhook-signature": "v1,AAAA"}, "does not fit the body"),
        ({"webhook-id": "task-2"}, "does not fit the body"),
        ({"webhook-timestamp": str(NOW - 400)}, "400 s in the past"),
        ({"webhook-timestamp": str(NOW + 400)}, "400 s in the future"),
        ({"webhook-timestamp": "now"}, "'now', not unix seconds"),
    ],
)
def test_what_is_wrong_is_told(change: dict[str, str], message: str) -> None:
    with pytest.raises(BadSignature, match=message):
        verify(SECRET, {**headers(sign(SECRET, "task-1", NOW, BODY)), **change}, BODY, now=NOW)


def test_a_changed_body_is_noticed() -> None:
    with pytest.raises(BadSignature, match="changed body"):
        verify(SECRET, headers(sign(SECRET, "task-1", NOW, BODY)), BODY + b" ", now=NOW)


def test_a_secret_that_is_none_is_told() -> None:
    with pytest.raises(ValueError, match="`whsec_` and base64"):
        verify("whsec_!", headers("v1,AAAA"), BODY, now=NOW)
