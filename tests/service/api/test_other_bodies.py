"""Bodies that are no JSON because they are something else: the error says what came, and what to send."""

from __future__ import annotations

import gzip
import json

import pytest
import requests

from tests.support.http import error_of
from tests.support.services import Service

REQUEST = {"data": {"a": 1}}


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd", "gzip, identity", "GZIP"])
def test_an_encoded_body_is_refused(service: Service, encoding: str) -> None:
    body = gzip.compress(json.dumps(REQUEST).encode())
    response = service.predict(body, headers={"Content-Encoding": encoding})
    status, title, description = error_of(response)
    assert (status, title) == (415, "Unsupported Content-Encoding")
    assert encoding in description
    assert "without Content-Encoding" in description
    assert response.headers["Accept-Encoding"] == "identity"


def test_the_connection_of_an_encoded_body_goes_on(service: Service) -> None:
    with requests.Session() as session:
        session.trust_env = False
        for _ in range(3):
            body = b"x" * 500_000
            url = f"{service.url}/predict"
            assert session.post(url, data=body, headers={"Content-Encoding": "gzip"}, timeout=10).status_code == 415
            assert session.post(url, json=REQUEST, timeout=10).status_code == 200


@pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
def test_an_encoding_that_is_none_is_welcome(service: Service, encoding: str) -> None:
    assert service.predict(REQUEST, headers={"Content-Encoding": encoding}).status_code == 200


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", "x", ""],
)
def test_json_is_welcome_under_any_content_type(service: Service, content_type: str) -> None:
    assert service.predict(REQUEST, headers={"Content-Type": content_type}).json() == {"answer": REQUEST}


def refused(response: requests.Response) -> str:
    status, title, description = error_of(response)
    assert (status, title) == (400, "Malformed JSON")
    assert response.json()["reason"]
    return description


def test_form_data_is_named(service: Service) -> None:
    post = f"{service.url}/predict"
    described = refused(requests.post(post, files={"file": ("a.csv", b"1,2")}, data={"a": "b"}, timeout=10))
    assert "it is form data (multipart), not JSON. Send one JSON document" in described
    described = refused(requests.post(post, data={"a": "b", "c": "d"}, timeout=10))
    assert "it is form fields (name=value), not JSON." in described
    assert "-H 'Content-Type: application/json' -d" in described


@pytest.mark.parametrize(
    ("content_type", "body", "named"),
    [
        ("text/csv", b"1,2,3\n4,5,6", "it is of the type text/csv"),
        ("application/xml; charset=utf-8", b"<a/>", "it is of the type application/xml"),
        ("image/png", b"\x89PNG\r\n\x1a\n", "it is of the type image/png"),
        ("application/x-www-form-urlencoded", b"\x89PNG\r\n\x1a\n", "it is binary data"),
        ("application/json", gzip.compress(b"{}"), "it is compressed (gzip)"),
        ("", b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--', "it is form data (multipart)"),
    ],
)
def test_other_types_are_named(service: Service, content_type: str, body: bytes, named: str) -> None:
    assert named in refused(service.predict(body, headers={"Content-Type": content_type}))


@pytest.mark.parametrize("body", [b'{"a": 1,}', b"[1,", b'"a', b"nonsense", b"nan"])
def test_json_with_a_mistake_is_no_other_type(service: Service, body: bytes) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}  # as curl says by itself
    assert refused(service.predict(body, headers=headers)) == "Could not decode the request body."
