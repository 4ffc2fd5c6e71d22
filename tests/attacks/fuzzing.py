"""Requests made of the service's own description, and the judgement of their answers by it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import jsonschema_rs
import orjson
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.support import json_schemas

# What the project of these tests declares: app/assets/schema.json.
_ITEM = {
    "type": "object",
    "required": ["kind", "values"],
    "additionalProperties": False,
    "properties": {
        "kind": {"enum": ["plain", "loud", None, 7]},
        "values": {"type": "array", "maxItems": 5, "items": {"type": ["number", "string", "boolean", "null"]}},
        "text": {"type": "string", "maxLength": 50},
        "inner": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "integer"}}},
        "number": {"type": "integer"},  # the fuzzer's own, put in afterwards
    },
}
_BY_ID = {"type": "object", "minProperties": 1, "additionalProperties": _ITEM}
DECLARED: dict[str, Any] = {
    "request": {
        "type": "object",
        "required": ["data"],
        "additionalProperties": False,
        "properties": {"data": _BY_ID, "act": {"enum": ["echo", "wait", "wait", "echo", "refuse", "raise"]}},
    },
    "response": _BY_ID,
}


@dataclass
class Request:
    """One request.

    Attributes:
        value: what the body says; None where it is no JSON by itself.
        number: the request's own, which reaches the worker where the body does.
    """

    method: str = "POST"
    path: str = "/predict"
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    value: Any = None
    chunked: bool = False
    number: int = -1

    @property
    def is_prediction(self) -> bool:
        return (self.method, self.path) == ("POST", "/predict")

    def numbered(self, number: int) -> Request:
        """The same with its number in the items of its body, where it has any."""
        self.number = number
        data = self.value.get("data") if isinstance(self.value, dict) else None
        if isinstance(data, dict) and self.body:
            for item in data.values():
                if isinstance(item, dict):
                    item["number"] = number
            self.body = json.dumps(self.value, ensure_ascii=number % 2 == 0).encode()
        return self


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return orjson.loads(self.body)


# ---- Requests --------------------------------------------------------------------------------------------------------

_HEADER_TEXT = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_categories=["Cc"]), max_size=30)
_PREFERENCES = ["respond-async", "wait=5", "respond-async, wait=5", "wait=0.05", "WAIT = 9", "wait=1e9", "wait=-1"]
_TYPES = ["application/json", "text/plain", "multipart/form-data", "application/x-www-form-urlencoded"]
# A header: how many requests have it once, its values.
_HEADERS: dict[str, tuple[int, SearchStrategy[str]]] = {
    "Prefer": (3, st.one_of(st.sampled_from(_PREFERENCES), _HEADER_TEXT)),
    "Idempotency-Key": (10, st.one_of(st.integers(0, 30).map(str), _HEADER_TEXT, st.just("k" * 256))),
    "X-Request-Id": (6, st.one_of(st.uuids().map(str), _HEADER_TEXT)),
    "traceparent": (10, st.one_of(st.just(f"00-{'a' * 32}-{'b' * 16}-01"), _HEADER_TEXT)),
    "Content-Type": (6, st.one_of(st.sampled_from(_TYPES), _HEADER_TEXT)),
    "Content-Encoding": (60, st.sampled_from(["gzip", "identity", "br", "x"])),
}
_DICE = st.integers(0, 59)


@st.composite
def _some_headers(draw: st.DrawFn) -> dict[str, str]:
    return {name: draw(values) for name, (one_in, values) in _HEADERS.items() if draw(_DICE) % one_in == one_in - 1}


_SOME_HEADERS = _some_headers()
_BAD_CALLBACKS = ["http://169.254.169.254/", "file:///etc/passwd", "http://[::1]:1/", "http://a b/", "javascript:0", ""]


def _bodies(schema: dict[str, Any], receiver: str) -> SearchStrategy[Request]:
    """Requests whose body fits the schema, in nine of ten cases."""
    fits, almost = json_schemas.fitting(schema), json_schemas.almost_fitting(schema)
    callbacks = st.one_of(st.just(receiver), st.sampled_from(_BAD_CALLBACKS), json_schemas.SCALARS)

    @st.composite
    def bodies(draw: st.DrawFn) -> Request:
        dice = draw(_DICE)
        value = draw(almost if dice % 10 == 9 else fits)
        if isinstance(value, dict):
            value.pop("callback_uri", None)
            if draw(_DICE) % 10 == 9:
                value["callback_uri"] = draw(callbacks)
        return Request(body=b"{}", value=value, headers=draw(_SOME_HEADERS), chunked=dice % 10 == 8)

    return bodies()


_BROKEN = [
    b"", b"nul", b"NaN", b"[Infinity]", b"1e999", b"[18446744073709551616]", b'["\\ud800"]', b"\xef\xbb\xbf{}",
    "{}".encode("utf-16"), b"{'a': 1}", b"[1,]", b"[01]", b'{"a":1}}', b"data=1", b"\x1f\x8b\x08\x00", b'["\xff"]',
    b"[" * 251 + b"]" * 251, b"[" * 100_000, b'{"data":' * 300 + b"1" + b"}" * 300, b'{"__type__":"foo","__value__":1}',
    b'{"data":{"a":{"kind":"plain","values":[1],"values":2}}}', b'{"data":{"__proto__":{"kind":null,"values":[]}}}',
]  # fmt: skip
_INSERTED = [b"", b'"', b"\\", b"[", b"}", b"\x00", b"\xc3", b"9", b",", b"e"]


def _spoiled(schema: dict[str, Any]) -> SearchStrategy[Request]:
    """Bodies with a byte too many, too few, or another one; and some that are known to be hard."""

    def spoil(value: Any, broken: bytes | None, place: int, length: int, inserted: bytes) -> bytes:
        if broken is not None:
            return broken
        body = json.dumps(value).encode()
        place %= len(body)
        return body[:place] + inserted + body[place + length :]

    bodies = st.builds(
        spoil,
        json_schemas.fitting(schema),
        st.none() | st.sampled_from(_BROKEN),
        st.integers(0, 500),
        st.sampled_from([0, 1, 10_000]),
        st.sampled_from(_INSERTED),
    )
    return st.builds(lambda body, headers: Request(body=body, headers=headers), bodies, _SOME_HEADERS)


_METHODS = ["GET", "GET", "GET", "DELETE", "HEAD", "POST", "PUT", "OPTIONS", "PATCH"]
_PATHS = ["/", "/docs", "/openapi.json", "/nothing", "/predict/"]


def _elsewhere(paths: Sequence[str]) -> SearchStrategy[Request]:
    """Requests that are no predictions."""

    def make(method: str, path: str, task_id: str, headers: dict[str, str]) -> Request:
        if (method, path) == ("POST", "/predict"):
            method = "PUT"
        return Request(method=method, path=path.replace("{task_id}", quote(task_id, safe="")), headers=headers)

    ids = st.one_of(st.uuids().map(str), json_schemas.TEXTS)
    return st.builds(make, st.sampled_from(_METHODS), st.sampled_from([*paths, *_PATHS]), ids, _SOME_HEADERS)


def requests(document: dict[str, Any], receiver: str) -> SearchStrategy[Request]:
    """Requests of a described service: eight of ten with a body that fits, or nearly so."""
    described = document["components"]["schemas"]["Request"]
    assert DECLARED["request"]["properties"].items() <= described["properties"].items(), "it describes what is declared"
    return _of(_bodies(DECLARED["request"], receiver), _spoiled(DECLARED["request"]), _elsewhere([*document["paths"]]))


@st.composite
def _of(
    draw: st.DrawFn, usual: SearchStrategy[Request], spoiled: SearchStrategy[Request], others: SearchStrategy[Request]
) -> Request:
    dice = draw(_DICE) % 20
    return draw(usual if dice < 16 else spoiled if dice < 18 else others)


def send(connection: http.client.HTTPConnection, request: Request) -> Answer:
    """The answer to a request."""
    headers = dict(request.headers)
    body: Any = request.body or (b"" if request.method in ("POST", "PUT") else None)
    if request.chunked and request.body:
        headers["Transfer-Encoding"] = "chunked"
        half = len(request.body) // 2
        body = [request.body[:half], request.body[half:]]
    connection.request(
        request.method, request.path, body, {name: value.encode("latin-1") for name, value in headers.items()},
        encode_chunked=request.chunked and bool(request.body),
    )  # fmt: skip
    found = connection.getresponse()
    return Answer(found.status, found.headers, found.read())


# ---- Judgement -------------------------------------------------------------------------------------------------------


class Judge:
    """Tells whether an answer is what the document says, and what the request calls for."""

    def __init__(self, document: dict[str, Any], receiver: str) -> None:
        self._document = document
        self._receiver = receiver
        self._validators: dict[int, Any] = {}
        self._is_declared = jsonschema_rs.validator_for(DECLARED["request"]).is_valid

    def check(self, request: Request, answer: Answer) -> None:
        """Raise AssertionError where an answer is not right."""
        told = (request.method, request.path, request.headers, request.body[:300], answer.status, answer.body[:300])
        self._check_form(request, answer, told)
        if request.is_prediction:
            assert answer.status in self._statuses(request), told
            if answer.status in (200, 202, 500):
                assert answer.headers["Denzel-Task-Id"], told
            if answer.status == 200 and "Location" not in answer.headers:
                asked = (request.value or orjson.loads(request.body))["data"]
                same = orjson.dumps(answer.json(), option=orjson.OPT_SORT_KEYS)
                assert same == orjson.dumps(asked, option=orjson.OPT_SORT_KEYS), told

    def _check_form(self, request: Request, answer: Answer, told: Any) -> None:
        described = self._described(request)
        kind = answer.headers.get("Content-Type", "").partition(";")[0]
        if answer.status >= 400 and request.method != "HEAD":
            body = answer.json()
            assert kind == "application/json", told
            if answer.status != 503 or request.path != "/ready":
                assert set(body) <= {"title", "description", "reason"}, told
                assert body["title"], told
                assert isinstance(body["description"], str), told
        if described is None:
            assert answer.status in (200, 204, 302, 303, 307, 308, 404, 405), told
            return
        assert str(answer.status) in described, told
        response = described[str(answer.status)]
        if answer.status in (429, 503):
            assert int(answer.headers["Retry-After"]) >= 0, told
        if request.method == "HEAD":
            return
        assert kind in response["content"], told
        if kind == "application/json":
            self._validator(response["content"][kind]["schema"]).validate(answer.json())
        if request.is_prediction:
            assert answer.headers["X-Request-Id"], told

    def _described(self, request: Request) -> dict[str, Any] | None:
        """The answers that the document has for a request; None where it does not speak of it."""
        path = "/status/{task_id}" if request.path.startswith("/status/") else request.path
        if "/" in path.removeprefix("/status/{task_id}")[1:]:
            return None
        method = "get" if request.method == "HEAD" else request.method.lower()
        return self._document["paths"].get(path, {}).get(method, {}).get("responses")

    def _validator(self, schema: dict[str, Any]) -> Any:
        if id(schema) not in self._validators:
            whole = {**schema, "components": self._document["components"]}
            self._validators[id(schema)] = jsonschema_rs.validator_for(whole)
        return self._validators[id(schema)]

    def _statuses(self, request: Request) -> set[int]:
        """What a request may be answered with."""
        headers = request.headers
        if headers.get("Content-Encoding", "identity") != "identity":
            return {415}
        value, known = request.value, {400}
        if value is None:
            try:
                value = orjson.loads(request.body)
            except ValueError:
                return {400}
            # Parsers differ in what they take: numbers too large, keys that come twice.
            known = {400, 200, 202, 500}
        bare = {k: v for k, v in value.items() if k != "callback_uri"} if isinstance(value, dict) else value
        if not self._is_declared(bare):
            return known
        if value.get("act") == "refuse" or len(headers.get("Idempotency-Key", "")) > 255:
            return {400}
        expected = {200, 202}
        if "wait=0.05" in headers.get("Prefer", ""):
            expected.add(429)  # the workers take longer
        if value.get("act") == "raise":
            expected = {500, 202} | (expected if self._is_async(request) else set())
        if "Idempotency-Key" in headers:
            expected |= {422, 500}  # the answer is the first one's
        if value.get("callback_uri", self._receiver) != self._receiver and self._is_async(request):
            expected.add(400)
        return expected | (known if request.value is None else set())

    def _is_async(self, request: Request) -> bool:
        return "respond-async" in request.headers.get("Prefer", "").lower()
