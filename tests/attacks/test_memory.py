"""What takes memory and time in the API: bodies, deep and wide ones, answers that nobody reads."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import requests

from tests.support.http import error_of
from tests.support.processes import children_of
from tests.support.services import Service
from tests.support.waiting import eventually

MEMORY = 48_000_000
LARGE = 10_000_000


@pytest.fixture(scope="module")
def bounded(new_service: Callable[..., Service]) -> Service:
    """A service with little memory for requests."""
    service = new_service(API_MEMORY=MEMORY, MAX_IDS=1000, VERIFY_TIMEOUT=30, DOCS="on", MAX_WAIT=60)
    service.start("redis", "api", "denzel")
    service.wait_ready()
    return service


@pytest.fixture
def open_sockets() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def memory_of(service: Service) -> int:
    """Bytes of the largest of the API's processes."""
    found = [0]
    for pid in (service.pid("api"), *children_of(service.pid("api"))):
        status = Path(f"/proc/{pid}/status").read_text()
        found += [int(line.split()[1]) * 1000 for line in status.splitlines() if line.startswith("VmRSS")]
    return max(found)


def begin(
    service: Service, stack: ExitStack, body: bytes, announced: int = LARGE, path: str = "/predict"
) -> socket.socket:
    """Send a part of a request."""
    client = stack.enter_context(socket.create_connection(("127.0.0.1", service.ports["api"]), timeout=20))
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {announced}\r\n\r\n"
    client.sendall(head.encode())
    client.setblocking(True)
    client.settimeout(20)
    with suppress(ConnectionError, TimeoutError):  # it was refused
        client.sendall(body)
    return client


def test_large_bodies_that_never_end_leave_room_for_small_requests(bounded: Service, open_sockets: ExitStack) -> None:
    before = memory_of(bounded)
    clients = [begin(bounded, open_sockets, b"[" + b"1," * 2_000_000) for _ in range(20)]

    def refused() -> list[requests.Response] | None:  # those that come together may all be refused
        clients.append(begin(bounded, open_sockets, b"[" + b"1," * 2_000_000))
        answer = bounded.predict({"text": "x" * 2_000_000})
        return None if answer.ok else [answer]

    [answer] = eventually(refused, "the memory is used up")
    assert error_of(answer) == (
        503,
        "Service unavailable",
        "The memory for requests that are under way is used up (API_MEMORY); try again soon.",
    )
    assert answer.headers["Retry-After"] == "1"
    assert bounded.predict({"a": 1}).json() == {"answer": {"a": 1}}
    assert memory_of(bounded) < before + 2 * MEMORY
    for client in clients:
        client.close()
    eventually(lambda: bounded.predict({"text": "x" * 2_000_000}).status_code == 200, "the memory is free again")


@pytest.mark.parametrize(
    "body",
    [b"[" + b"[]," * 3_300_000 + b"[]]", b"[" + b'{"":0},' * 1_400_000 + b"0]", b'[""' + b',""' * 3_300_000 + b"]"],
    ids=["lists", "objects", "texts"],
)
def test_a_body_of_too_many_values_is_refused_before_it_is_parsed(bounded: Service, body: bytes) -> None:
    before = memory_of(bounded)
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda: results.append(bounded.predict(body, timeout=60).status_code)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(results) <= {413, 503}
    assert error_of(bounded.predict(body)) == (
        413, "Request too large", "The request has more than 500000 values (MAX_VALUES in .env).",
    )  # fmt: skip
    assert memory_of(bounded) < before + 3 * MEMORY


@pytest.mark.parametrize("text", ["," * 900_000, '\\"[' * 400_000, "\\\\" * 400_000 + ",[{" * 400_000])
def test_what_looks_like_values_in_a_text_is_none(bounded: Service, text: str) -> None:
    body = f'{{"text": "{text}"}}'.encode()
    assert bounded.predict(body).json() == {"answer": json.loads(body)}


def test_ids_are_bounded(bounded: Service) -> None:
    ids = {f"a{number}": [1] for number in range(1001)}
    assert error_of(bounded.predict({"data": ids})) == (
        413, "Request too large", "The request has 1001 ids in `data`; 1000 may come together (MAX_IDS in .env).",
    )  # fmt: skip
    ids.popitem()
    assert bounded.predict({"data": ids}).json() == {"answer": {"data": ids}}


@pytest.mark.parametrize("padding", [0, 100_000])
@pytest.mark.parametrize("inner", [b"[1]", b'{"a":1}'])
def test_levels_are_bounded(bounded: Service, inner: bytes, padding: int) -> None:
    pad = b" " * padding
    deepest = b"[" * 249 + inner + pad + b"]" * 249
    assert bounded.predict(deepest).content == b'{"answer":' + deepest.replace(b" ", b"") + b"}"
    deeper = bounded.predict(b"[" + deepest + b"]")
    assert (deeper.status_code, deeper.json()["reason"]) == (400, "nested too deep")


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b",".join([b"[]"] * 249_000) + b"]",
        b"[" + b",".join([b"1.2345678901234567"] * 490_000) + b"]",
        b"{" + b",".join(b'"key%d":null' % number for number in range(490_000)) + b"}",
        b"[12345678901234567890,1e300," + b",".join([b'"0000000000000000000 1234567890123456789"'] * 200_000) + b"]",
        b'{"image":"' + b"0" * 10_000_000 + b'"}',
    ],
    ids=["lists", "numbers", "keys", "long-numbers", "text"],
)
def test_a_large_body_holds_up_nobody(new_service: Callable[..., Service], roomy: Service, body: bytes) -> None:
    with requests.Session() as pings:
        pings.get(f"{roomy.url}/ping")
        thread = threading.Thread(target=roomy.predict, args=(body, "respond-async"), kwargs={"timeout": 60})
        thread.start()
        longest = 0.0
        while thread.is_alive():
            began = time.perf_counter()
            assert pings.get(f"{roomy.url}/ping", timeout=20).status_code == 200
            longest = max(longest, time.perf_counter() - began)
            time.sleep(0.005)
    assert longest < 0.3  # on a busy machine; 0.1 s on one of its own


@pytest.fixture(scope="module")
def roomy(new_service: Callable[..., Service]) -> Service:
    """An API whose workers are not there: what is accepted waits."""
    service = new_service(VERIFY_TIMEOUT=60)
    service.start("redis", "api")
    return service


@pytest.mark.parametrize(
    "body",
    [
        b'["\\ud800"]',
        b'[{"\\ud800":1}]',
        b"[1e400]",
        b"[NaN]",
        b"[18446744073709551616]",
        b"[01]",
        b'["\n"]',
        b'["\xff"]',
    ],
)
def test_the_parser_for_many_values_takes_no_other_json(roomy: Service, body: bytes) -> None:
    many = b"[" + body + b",1" * 60_000 + b"]"
    assert error_of(roomy.predict(many))[:2] == (400, "Malformed JSON")


def test_answers_that_nobody_reads_leave_room_for_small_ones(bounded: Service, open_sockets: ExitStack) -> None:
    before = memory_of(bounded)
    body = json.dumps({"predict": "{'text': 'x' * 10_000_000}"}).encode()
    for _ in range(15):
        begin(bounded, open_sockets, body, len(body))
    answer = eventually(
        lambda: (found := bounded.predict(body)).status_code == 503 and found.headers,
        "large answers find no room",
        timeout=60,
    )
    assert answer["Retry-After"] == "1"
    assert bounded.predict({"a": 1}).json() == {"answer": {"a": 1}}
    assert memory_of(bounded) < before + 3 * MEMORY
    open_sockets.close()
    eventually(lambda: bounded.predict(body).status_code == 200, "the memory is free again", timeout=60)


def test_a_refused_request_leaves_nothing(new_service: Callable[..., Service]) -> None:
    service = new_service(MAX_QUEUE=1)
    service.start("redis", "api")
    key = {"Idempotency-Key": "the same"}
    first = service.submit({"number": 1})
    before = set(service.redis.keys("*"))
    for number in range(3):  # another body each time: a key that stayed would be refused by 422
        assert service.predict({"number": number}, "respond-async", headers=key).status_code == 429
    assert set(service.redis.keys("*")) == before
    service.request("DELETE", f"/status/{first}")
    ids = {service.predict({"number": 9}, "respond-async", headers=key).json()["data"]["task_id"] for _ in range(2)}
    assert len(ids) == 1
