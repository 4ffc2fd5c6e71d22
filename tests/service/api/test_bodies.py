"""Which bodies of POST /predict are read: JSON, and not too large."""

from __future__ import annotations

import json

import pytest

from tests.support.http import ASYNC, error_of
from tests.support.services import Service

# ---- Bodies that are not JSON ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"nonsense", b'{"a": 1', b'{"a": 1} x', b"{'a': 1}", b'{"a": 01}', b'"\xff"', b'"\xc3"',
        b"\xef\xbb\xbf{}", '{"a": 1}'.encode("utf-16"), b'{"a": NaN}', b"Infinity", b"[-Infinity]", b"1e400",
        b"18446744073709551616", b"[-9223372036854775809]", b"1" * 1000, b'"\\ud800"', b"[" * 2000 + b"]" * 2000,
    ],
    ids=lambda body: repr(body[:24]),
)  # fmt: skip
def test_malformed_json_is_refused(service: Service, body: bytes) -> None:
    response = service.predict(body)
    assert error_of(response) == (400, "Malformed JSON", "Could not decode the request body.")
    assert response.json()["reason"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the request has no body"),
        (b'{"a": 1,}', "line 1 column"),
        (b"[18446744073709551616]", "an integer is beyond 64 bits"),
    ],
)
def test_why_json_is_malformed_is_told(service: Service, body: bytes, reason: str) -> None:
    assert reason in service.predict(body).json()["reason"]


@pytest.mark.parametrize("number", [2**64 - 1, -(2**63), 1e308, 5e-324, 0.1234567890123456789])
def test_the_largest_and_smallest_numbers_are_exact(service: Service, number: float) -> None:
    assert service.predict([number]).json() == {"answer": [number]}


def test_digits_in_text_are_no_number(service: Service) -> None:
    body = {"data": "1" * 100}
    assert service.predict(body).json() == {"answer": body}


@pytest.mark.parametrize("inner", [b"", b"1234567890123456789"])
@pytest.mark.parametrize("depth", [100, 249, 253, 254, 255, 600, 1024])
def test_deep_values_come_back_or_are_refused_but_never_break_anything(
    service: Service, depth: int, inner: bytes
) -> None:
    text = b"[" * depth + inner + b"]" * depth
    response = service.predict(text)
    task_id = response.headers.get("Denzel-Task-Id")
    if task_id is None:
        assert depth > 249
        assert error_of(response)[:2] == (400, "Malformed JSON")
    elif response.status_code == 200:
        assert response.content == b'{"answer":' + text + b"}"
        assert service.get(f"/status/{task_id}").content.count(b"[") == depth
    else:
        assert depth > 249
        assert error_of(response)[:2] == (500, "Error invoking predict")


@pytest.mark.parametrize(
    ("header", "body"),
    [(b"Content-Length: 100", b'{"note": "cut"}'), (b"Transfer-Encoding: chunked", b'a\r\n{"note": "\r\n')],
)
def test_a_body_cut_off_is_no_request(service: Service, header: bytes, body: bytes) -> None:
    before = len(service.events("verify_input"))
    received = service.raw(b"POST /predict HTTP/1.1\r\nHost: test\r\n" + header + b"\r\n\r\n" + body, half_close=True)
    assert b"200 OK" not in received
    service.predict({"a": 1})
    assert len(service.events("verify_input")) == before + 1


# ---- Too large -------------------------------------------------------------------------------------------------------


def test_a_body_too_large_is_refused_before_it_is_read(waiting: Service) -> None:
    received = waiting.raw(b"POST /predict HTTP/1.1\r\nHost: test\r\nContent-Length: 1001\r\n\r\n")
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert json.loads(body) == {
        "title": "Request too large",
        "description": "The request body is larger than 1000 bytes (MAX_BODY_BYTES in .env).",
    }


def test_a_body_too_large_that_is_sent_all_the_same_gets_the_same_answer(waiting: Service) -> None:
    assert error_of(waiting.predict(b'"' + b"x" * 100_000 + b'"'))[:2] == (413, "Request too large")


def test_a_chunked_body_too_large_is_refused(waiting: Service) -> None:
    response = waiting.request("POST", "/predict", data=iter([b'"', *[b"x" * 100] * 10, b'"']))
    assert error_of(response)[:2] == (413, "Request too large")


def test_a_body_just_not_too_large_is_read(waiting: Service) -> None:
    body = b'"' + b"x" * 998 + b'"'
    assert waiting.predict(body, prefer=ASYNC).status_code == 200
    assert waiting.request("POST", "/predict", data=iter([body]), headers={"Prefer": ASYNC}).status_code == 200
