"""What is no proper HTTP, or more of it than anyone needs: one answer to all of it, the same whichever way it goes."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.processes import children_of, memory_of
from tests.support.services import Service

BODY = b'{"a":1}'
PING = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
# Headers by which POST /predict goes the quick way, or the usual one; and what never goes the quick way.
WAYS = {
    "quick": (b"POST /predict", b"Content-Length: 7\r\n", BODY),
    "usual": (b"POST /predict", b"Prefer: wait=20\r\nContent-Length: 7\r\n", BODY),
    "ping": (b"GET /ping", b"", b""),
}  # fmt: skip
MOST = 65_536  # bytes of a head
MOST_BODY = 100_000
SHORT = {"HEAD_TIMEOUT": 2, "BODY_TIMEOUT": 11, "BODY_RATE": 50_000, "MAX_BODY_BYTES": MOST_BODY}


@pytest.fixture(scope="module", params=["any host", "named hosts"])
def edges(new_service: Callable[..., Service], request: pytest.FixtureRequest) -> Service:
    """A service that takes plain requests the quick way."""
    hosts = {"ALLOWED_HOSTS": "*"} if request.param == "any host" else {}
    return started(new_service("programs", **hosts))


@pytest.fixture(scope="module")
def bounded(new_service: Callable[..., Service]) -> Service:
    return started(new_service("programs", ALLOWED_HOSTS="a", **SHORT))


def started(service: Service) -> Service:
    service.start("redis", "api", "denzel")
    service.wait_ready()
    for _ in range(3):  # plain ones go the quick way from then on
        assert service.raw(sent("quick", b"Host: a\r\n")).startswith(b"HTTP/1.1 200 ")
    return service


def sent(way: str, headers: bytes, version: bytes = b"1.1") -> bytes:
    begin, further, body = WAYS[way]
    return begin + b" HTTP/" + version + b"\r\n" + headers + further + b"\r\n" + body


@contextlib.contextmanager
def connected(service: Service) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", service.ports["api"]), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


def read_all(connection: socket.socket) -> bytes:
    """What comes until the connection ends in order; a reset is an error."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def statuses(received: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]


def refused(received: bytes) -> tuple[int, str, str]:
    """Status, title and description of the one answer, after which the connection ends."""
    head, _, body = received.partition(b"\r\n\r\n")
    [status] = statuses(received)
    assert b"\r\ncontent-type: application/json" in head
    assert re.search(rb"\r\nx-request-id: \S+", head)
    assert head.count(b"\r\nconnection: close") == 1
    error = json.loads(body)
    return status, error["title"], error["description"]


def answer(service: Service, request: bytes) -> bytes:
    """All that comes on a connection; good requests follow, which must not be answered after a refusal."""
    with connected(service) as connection:
        connection.sendall(request + PING)
        time.sleep(0.02)
        connection.sendall(PING)
        connection.shutdown(socket.SHUT_WR)
        return read_all(connection)


# ---- Host ----------------------------------------------------------------------------------------------------------

BAD_HOSTS = {
    "none": b"",
    "two": b"Host: a\r\nHost: a\r\n",
    "two, apart": b"Host: a\r\nAccept: */*\r\nHOST: x\r\n",
    "a list": b"Host: a, x\r\n",
    "a list without spaces": b"Host: a,a\r\n",
    "empty": b"Host:\r\n",
    "spaces": b"Host:   \r\n",
    "a space within": b"Host: a x\r\n",
    "a tab within": b"Host: a\tx\r\n",
    "a path": b"Host: a/x\r\n",
    "a query": b"Host: a?x\r\n",
    "a URL": b"Host: http://a\r\n",
    "a user": b"Host: x@a\r\n",
    "no port": b"Host: a:b\r\n",
    "two ports": b"Host: a:80:80\r\n",
    "a port alone": b"Host: :80\r\n",
    "a long port": b"Host: a:123456\r\n",
    "an open bracket": b"Host: [::1\r\n",
    "no address in brackets": b"Host: [a.example]\r\n",
    "quotes": b'Host: "a"\r\n',
    "a letter beyond ASCII": b"Host: \xc3\xa4\r\n",
    "a backslash": b"Host: a\\x\r\n",
    "a folded line": b"Host: a\r\n x\r\n",
    "a space before the colon": b"Host : a\r\n",
    "a control character": b"Host: a\x01\r\n",
}
GOOD_HOSTS = [b"a", b"A", b"a:8000", b"a:", b" a \t", b"127.0.0.1:8000", b"[::1]", b"[::1]:8000"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", BAD_HOSTS)
def test_a_request_without_exactly_one_proper_host_is_refused(edges: Service, way: str, name: str) -> None:
    status, title, description = refused(answer(edges, sent(way, BAD_HOSTS[name])))
    assert (status, title) == (400, "Bad request")
    assert "Host" in description or description == "Invalid HTTP request received."


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("host", GOOD_HOSTS)
def test_proper_hosts_are_let_in(edges: Service, way: str, host: bytes) -> None:
    for _ in range(2):
        assert statuses(edges.raw(sent(way, b"Connection: close\r\nHost: " + host + b"\r\n"))) == [200]


@pytest.mark.parametrize("host", [b"model_api:8000", b"xn--bcher-kva.example", b"a.example.", b"[fe80::1%25eth0]:80"])
def test_names_that_are_no_domains_are_hosts_too(edges: Service, host: bytes) -> None:
    expected = 200 if edges.environment["ALLOWED_HOSTS"] == "*" else 403
    assert statuses(edges.raw(sent("quick", b"Host: " + host + b"\r\n"))) == [expected]


def test_headers_that_come_twice_are_welcome(edges: Service) -> None:
    twice = b"Host: a\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 10.0.0.2\r\n"
    assert statuses(edges.raw(sent("quick", twice))) == [200]


@pytest.mark.parametrize("way", WAYS)
def test_http_1_0_needs_no_host_but_takes_no_second_one(edges: Service, way: str) -> None:
    for headers, expected in (
        (b"", 200),
        (b"Host: a\r\n", 200),
        (b"Host: a\r\nHost: a\r\n", 400),
        (b"Host: a/\r\n", 400),
    ):
        assert statuses(edges.raw(sent(way, headers, b"1.0"))) == [expected]


# ---- Versions, Transfer-Encoding -----------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [b"", b"Connection: keep-alive\r\n"])
@pytest.mark.parametrize("coding", [b"chunked", b"Chunked", b"gzip, chunked"])
def test_http_1_0_with_a_transfer_encoding_is_refused(edges: Service, headers: bytes, coding: bytes) -> None:
    head = b"POST /predict HTTP/1.0\r\nHost: a\r\n" + headers + b"Transfer-Encoding: " + coding + b"\r\n\r\n"
    status, title, description = refused(answer(edges, head + b"7\r\n" + BODY + b"\r\n0\r\n\r\n"))
    assert (status, title) == (400, "Bad request")
    assert "Transfer-Encoding" in description


@pytest.mark.parametrize(
    "coding", [b"gzip, chunked", b"gzip,chunked", b"gzip\r\nTransfer-Encoding: chunked", b"deflate, chunked"]
)
def test_a_body_that_is_compressed_on_its_way_is_refused(edges: Service, coding: bytes) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: " + coding + b"\r\n\r\n"
    status, title, _ = refused(answer(edges, head + b"7\r\n" + BODY + b"\r\n0\r\n\r\n"))
    assert (status, title) == (501, "Not implemented")


@pytest.mark.parametrize(
    "framing",
    [
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding: chunked, chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 7\r\n",
        b"Content-Length: 7\r\nContent-Length: 7\r\n",
        b"Content-Length: 7\r\nContent-Length: 8\r\n",
        b"Content-Length: 7, 7\r\n",
        b"Content-Length: +7\r\n",
        b"Content-Length: 0x7\r\n",
    ],
)
def test_a_body_whose_end_is_doubtful_is_refused(edges: Service, framing: bytes) -> None:
    assert refused(answer(edges, b"POST /predict HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n" + BODY))[0] == 400


def test_a_chunked_body_is_taken(edges: Service) -> None:
    assert edges.raw(CHUNKED + b"7\r\n" + BODY + b"\r\n0\r\n\r\n").endswith(b'{"fine":true}')


@pytest.mark.parametrize(
    "line", [b"GET /ping", b"GET /ping HTTP/0.9", b"GET /ping HTTP/2.0", b"POST /predict HTTP/2.0"]
)
def test_other_versions_are_refused(edges: Service, line: bytes) -> None:
    status, title, _ = refused(edges.raw(line + b"\r\nHost: a\r\n\r\n" if b"HTTP" in line else line + b"\r\n\r\n"))
    assert (status, title) == (505, "HTTP version not supported")


# ---- The size of a head --------------------------------------------------------------------------------------------


def head_of(size: int, way: str = "ping", lines: int = 1, empty: int = 0) -> bytes:
    """A request whose head, with so many empty lines before it, has this size."""
    begin, further, body = WAYS[way]
    start = b"\r\n" * empty + begin + b" HTTP/1.1\r\nHost: a\r\n" + further
    room = size - len(start) - 2
    each = room // lines
    filling = [b"X: " + b"x" * (each - 5) + b"\r\n"] * (lines - 1)
    filling.append(b"X: " + b"x" * (room - each * (lines - 1) - 5) + b"\r\n")
    request = start + b"".join(filling) + b"\r\n" + body
    assert len(request) - len(body) == size
    return request


SENT = {
    "at once": lambda request: [request],
    "in two parts": lambda request: [request[:40_000], request[40_000:]],
    "but for its last byte": lambda request: [request[:-1], request[-1:]],
    "in pieces": lambda request: [request[place : place + 5_000] for place in range(0, len(request), 5_000)],
    "behind another one": lambda request: [PING + request],
    "behind half of another one": lambda request: [PING[:-9], PING[-9:] + request[:30_000], request[30_000:]],
}


def answers_to(service: Service, parts: list[bytes]) -> list[int]:
    """The statuses of the answers to what is sent part by part, each read by itself."""
    with connected(service) as connection:
        for part in parts:
            with contextlib.suppress(ConnectionError):  # it is refused already
                connection.sendall(part)
            time.sleep(0.02)
        with contextlib.suppress(OSError):
            connection.sendall(PING)
            connection.shutdown(socket.SHUT_WR)
        return statuses(read_all(connection))


@pytest.mark.parametrize("lines", [1, 300])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SENT)
def test_the_size_of_a_head_counts_from_its_first_byte(bounded: Service, name: str, way: str, lines: int) -> None:
    before = [200] if "behind" in name else []
    assert answers_to(bounded, SENT[name](head_of(MOST, way, lines))) == [*before, 200, 200]
    assert answers_to(bounded, SENT[name](head_of(MOST + 1, way, lines))) == [*before, 431]


@pytest.mark.parametrize("name", ["at once", "in two parts", "in pieces"])
def test_empty_lines_before_a_head_count(bounded: Service, name: str) -> None:
    assert answers_to(bounded, SENT[name](head_of(MOST, empty=30_000))) == [200, 200]
    assert answers_to(bounded, SENT[name](head_of(MOST + 1, empty=30_000))) == [431]
    assert answers_to(bounded, [b"\r\n" * 20_000] * 3 + [b"\r\n" * 10_000]) == [431]


def test_heads_count_each_by_itself(bounded: Service) -> None:
    assert answers_to(bounded, [head_of(50_000) * 4]) == [200] * 5
    assert answers_to(bounded, [b"\r\n" * 10_000, PING] * 5) == [200] * 6


def test_the_answer_to_a_head_too_large_is_an_error_like_others(bounded: Service) -> None:
    for parts in SENT["at once"](head_of(MOST + 1)), SENT["in pieces"](head_of(3 * MOST)):
        with connected(bounded) as connection:
            for part in parts:
                connection.sendall(part)
            status, title, description = refused(read_all(connection))
            assert (status, title) == (431, "Request head too large")
            assert str(MOST) in description


# ---- What comes after a refusal --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rest", [b"nonsense\r\n\r\n", PING[:-2] + b"X: " + b"x" * 100_000], ids=["no HTTP", "a head too large"]
)
@pytest.mark.parametrize("way", ["quick", "usual"])
def test_requests_before_a_bad_one_get_their_answers(bounded: Service, way: str, rest: bytes) -> None:
    """And nobody takes the refusal for one of these."""
    body = json.dumps({"predict": "time.sleep(0.5); answer = {'slow': 1}"}).encode()
    begin, further, _ = WAYS[way]
    slow = begin + b" HTTP/1.1\r\nHost: a\r\n" + further.replace(b"7", b"%d" % len(body)) + b"\r\n" + body
    with connected(bounded) as connection:
        connection.sendall(slow)
        time.sleep(0.1)
        connection.sendall(rest)
        received = read_all(connection)
    assert statuses(received) == [200]
    assert received.endswith(b'{"slow":1}')
    assert b"\r\nconnection: close" in received


# What gets an answer before it is sent as a whole: its head, the begin of its body, and what follows again and again.
UNWANTED = {
    "a body too large": (
        b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\n", b" " * 65536, 413,
    ),
    "a chunked body too large": (CHUNKED, b"10000\r\n" + b" " * 65536 + b"\r\n", 413),
    "a compressed body": (
        CHUNKED[:-2] + b"Content-Encoding: gzip\r\n\r\n", b"10000\r\n" + b"\x1f" * 65536 + b"\r\n", 415,
    ),
    "a body of nobody's": (CHUNKED.replace(b"Host: a", b"Host: b"), b"10000\r\n" + b" " * 65536 + b"\r\n", 403),
    "a body without a host": (CHUNKED.replace(b"Host: a\r\n", b""), b"10000\r\n" + b" " * 65536 + b"\r\n", 400),
    "a body of /ping": (CHUNKED.replace(b"POST /predict", b"GET /ping"), b"10000\r\n" + b" " * 65536 + b"\r\n", 200),
    "a head too large": (PING[:-2], b"X: " + b"x" * 65536 + b"\r\n", 431),
    "no HTTP": (b"nonsense\r\n\r\n", b"x" * 65536, 400),
}  # fmt: skip


@pytest.mark.parametrize("name", UNWANTED)
def test_a_client_that_sends_on_reads_its_answer(bounded: Service, name: str) -> None:
    """It sends 30 MB first, as many clients do."""
    begin, again, status = UNWANTED[name]
    [api] = children_of(bounded.pid("api"))
    before = memory_of(api)
    with connected(bounded) as connection:
        connection.sendall(begin)
        for _ in range(500):
            connection.sendall(again)
        connection.shutdown(socket.SHUT_WR)
        received = read_all(connection)
    assert statuses(received)[0] == status
    assert memory_of(api) - before < 20


def test_what_comes_after_a_refusal_is_not_read_for_ever(bounded: Service) -> None:
    """However fast it comes: no longer than the largest body may take."""
    stop = threading.Event()

    def send_on(name: str) -> tuple[float, bool]:
        begin, again, _ = UNWANTED[name]
        began = time.monotonic()
        with connected(bounded) as connection:
            try:
                connection.sendall(begin)
                while time.monotonic() < began + 40 and not stop.is_set():
                    connection.sendall(again)
                    time.sleep(0.05)
            except ConnectionError:
                return time.monotonic() - began, True
        return time.monotonic() - began, False

    try:
        with ThreadPoolExecutor(len(UNWANTED)) as pool:
            ends = dict(zip(UNWANTED, pool.map(send_on, UNWANTED), strict=True))
    finally:
        stop.set()
    most = SHORT["BODY_TIMEOUT"] + MOST_BODY / SHORT["BODY_RATE"]
    assert {name: is_closed for name, (_, is_closed) in ends.items()} == dict.fromkeys(UNWANTED, True)
    assert {name: most - 2 < seconds < most + 8 for name, (seconds, _) in ends.items()} == dict.fromkeys(UNWANTED, True)


def test_a_connection_goes_on_after_a_refusal_whose_body_ends(bounded: Service) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (MOST_BODY + 1)
    with connected(bounded) as connection:
        for _ in range(3):
            connection.sendall(head + b" " * (MOST_BODY + 1) + PING)
            received = b""
            while not received.endswith(b"pong"):
                part = connection.recv(65536)
                assert part
                received += part
            assert statuses(received) == [413, 200]


# ---- Content-Encoding ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["quick", "usual"])
@pytest.mark.parametrize(
    "encoding", [b"gzip", b"GZIP", b"br", b"x", b"identity, gzip", b"identity\r\nContent-Encoding: gzip"]
)
def test_a_body_with_a_content_encoding_is_refused(edges: Service, way: str, encoding: bytes) -> None:
    body = gzip.compress(BODY)
    begin, further, _ = WAYS[way]
    length = further.replace(b"7", b"%d" % len(body))
    head = begin + b" HTTP/1.1\r\nHost: a\r\nContent-Encoding: " + encoding + b"\r\n" + length + b"\r\n"
    received = edges.raw(head + body)
    assert statuses(received) == [415]
    assert b"\r\naccept-encoding: identity" in received
    error = json.loads(received.partition(b"\r\n\r\n")[2])
    assert error["title"] == "Unsupported Content-Encoding"
    assert "Send it as it is" in error["description"]


def test_the_inbox_of_docs_takes_no_encoded_callback(new_service: Callable[..., Service]) -> None:
    service = new_service(EXECUTOR="inline", DOCS_INBOX="on")
    service.start("api")
    path = "/" + service.request("POST", "/docs/inbox").json()["arrivals"]
    body = gzip.compress(b"{}")
    refusal = service.request("POST", path, data=body, headers={"Content-Encoding": "gzip"})
    assert (refusal.status_code, refusal.json()["title"]) == (415, "Unsupported Content-Encoding")
    assert service.request("POST", path, data=b"{}").status_code == 204
    assert len(service.get(path).json()["arrivals"]) == 1
