"""The secret of callbacks and their signatures, as Standard Webhooks tells."""

from __future__ import annotations

import pytest

from denzel.signing import read_secret, signature


def test_the_signature_is_that_of_the_specification() -> None:
    key = read_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    signed = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_secrets_are_read_with_and_without_padding() -> None:
    assert read_secret("") == b""
    assert read_secret("whsec_YWI=") == read_secret("whsec_YWI") == b"ab"
    for wrong in ("whsec_a", "whsec_ä", "whsec_a b", "whsec_!!!!"):
        with pytest.raises(ValueError, match="CALLBACK_SECRET"):
            read_secret(wrong)
