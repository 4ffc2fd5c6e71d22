"""Attacks on memory at their full size, with the default settings: each process stays alive and below its limit.

Only where DENZEL_ATTACKS is `all`: they send some 20 GB. test_memory.py has the same in small.
"""

from __future__ import annotations

import json
import os
import resource
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.support.processes import children_of
from tests.support.services import Service
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.skipif(os.environ.get("DENZEL_ATTACKS") != "all", reason="only with DENZEL_ATTACKS=all"),
    pytest.mark.timeout(1800),
]

MOST = (
    1024  # MiB of an API process: API_MEMORY is 512 MB, the process itself takes 100 MB, a parser as much for a moment
)
SIZE = 10 << 20
HEAD = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n"


@pytest.fixture(scope="module", autouse=True)
def open_files() -> Iterator[None]:
    """The tests have thousands of connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def service(new_service: Callable[..., Service]) -> Iterator[Service]:
    service = new_service(API_WORKERS=2, MAX_WAIT=60)
    service.start("redis", "api", "denzel")
    service.wait_ready()
    yield service
    service.kill("api")
    service.kill("denzel")


@pytest.fixture
def sockets() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def peaks(service: Service) -> dict[int, int]:
    """The most memory that each API process has had, in MiB."""
    found = {}
    for pid in children_of(service.pid("api")):
        status = Path(f"/proc/{pid}/status").read_text()
        found[pid] = int(status.partition("VmHWM:")[2].split()[0]) // 1024
    return found


def check(service: Service, before: dict[int, int], what: str) -> None:
    """The processes are those from before, each below its limit, and answer once what waits is done."""
    eventually(lambda: service.predict({"a": 1}, "wait=60", timeout=90).status_code == 200, "it answers", timeout=300)
    for number in range(20):
        assert service.predict({"a": number}).json() == {"answer": {"a": number}}
    after = peaks(service)
    print(f"{what}: peaks of {[*before.values()]} MiB before, {[*after.values()]} MiB after")
    assert after.keys() == before.keys()
    assert max(after.values()) < MOST


def test_a_hundred_bodies_of_empty_lists(service: Service) -> None:
    before = eventually(lambda: len(found := peaks(service)) == 2 and found, "both processes are there")
    body = b"[" + b"[]," * 3_300_000 + b"[]]"
    with ThreadPoolExecutor(20) as pool:
        answers = pool.map(lambda _: service.predict(body, timeout=300).status_code, range(100))
    statuses = Counter(answers)
    print(dict(statuses))
    assert set(statuses) <= {413, 503}
    check(service, before, "100 bodies of ten million bytes of empty lists")


def test_two_thousand_bodies_that_never_end(service: Service, sockets: ExitStack) -> None:
    before = eventually(lambda: len(found := peaks(service)) == 2 and found, "both processes are there")
    part = b"[" + b"1," * ((SIZE - 4096) // 2)

    def begin(_: int) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", service.ports["api"]), timeout=60)
        with suppress(ConnectionError, TimeoutError):  # it was refused
            client.sendall(HEAD.format(SIZE).encode() + part)
        return client

    with ThreadPoolExecutor(20) as pool:
        for number, client in enumerate(pool.map(begin, range(2000))):
            sockets.callback(client.close)
            if number % 100 == 0:
                assert service.predict({"a": number}, timeout=60).status_code == 200
    check(service, before, "2,000 unfinished bodies of 10 MiB")


def test_five_hundred_clients_that_do_not_read_an_answer_of_ten_megabytes(service: Service, sockets: ExitStack) -> None:
    before = eventually(lambda: len(found := peaks(service)) == 2 and found, "both processes are there")
    body = json.dumps({"predict": "{'text': 'x' * 10_000_000}"}).encode()
    for number in range(500):
        client = sockets.enter_context(socket.socket())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", service.ports["api"]))
        client.sendall(HEAD.format(len(body)).encode() + body)
        if number % 50 == 0:
            assert service.predict({"a": number}, "wait=60", timeout=90).status_code == 200
    check(service, before, "500 clients that do not read an answer of 10 MB")
