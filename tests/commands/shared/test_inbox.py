"""What the inbox makes of a callback's signature."""

from __future__ import annotations

import base64
from email.message import Message

import pytest

from commands.shared.inbox import check_signature
from denzel.signing import signature

KEY, BODY = b"k" * 36, b'{"a": 1}'
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"


def headers(signatures: str | None) -> Message:
    message = Message()
    message["Webhook-Id"], message["Webhook-Timestamp"] = "one", "1700000000"
    if signatures is not None:
        message["Webhook-Signature"] = signatures
    return message


def test_a_signature_of_this_secret_and_body_is_valid() -> None:
    signed = signature(KEY, "one", "1700000000", BODY)
    assert check_signature(SECRET, headers(signed), BODY) == "valid"
    assert check_signature(SECRET, headers(f"v1,other {signed}"), BODY) == "valid"
    wrong = "WRONG, it was made with another secret or for another body"
    assert check_signature(SECRET, headers(signed), BODY + b" ") == wrong
    assert check_signature(SECRET.replace("a", "b"), headers(signed), BODY) == wrong
    assert check_signature(SECRET, headers("é"), BODY) == wrong


@pytest.mark.parametrize(
    ("secret", "signatures", "said"),
    [
        (SECRET, None, "none"),
        ("", "v1,any", "not checked, CALLBACK_SECRET is empty"),
        ("whsec_", "v1,any", "not checked, CALLBACK_SECRET is empty"),
        ("whsec_?", "v1,any", "not checked, CALLBACK_SECRET is not whsec_ and base64"),
    ],
)
def test_what_cannot_be_checked_is_said(secret: str, signatures: str | None, said: str) -> None:
    assert check_signature(secret, headers(signatures), BODY) == said
