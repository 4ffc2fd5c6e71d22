"""Clients that send nothing, or too slowly, or do not read: they are closed, told and counted, and cost nobody else."""

from __future__ import annotations

import json
import re
import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.processes import children_of
from tests.support.services import Service
from tests.support.waiting import eventually

# Short ones, so that nobody waits: the rate of a body counts over 10 s whatever they say.
BOUNDS = {
    "HEAD_TIMEOUT": 2,
    "KEEPALIVE_TIMEOUT": 2,
    "BODY_TIMEOUT": 14,
    "BODY_RATE": 50_000,
    "SEND_TIMEOUT": 3,
    "MAX_BODY_BYTES": 100_000,
}
PING = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
LARGE = {"predict": "{'text': 'x' * 10_000_000}"}


@pytest.fixture(scope="module")
def bounded(new_service: Callable[..., Service]) -> Service:
    service = new_service(EXECUTOR="inline", **BOUNDS)
    service.start("api")
    return service


@contextmanager
def connected(service: Service, buffer: int = 0) -> Iterator[socket.socket]:
    """A connection to the API; with a small buffer for what it reads, it soon takes nothing more."""
    with socket.socket() as connection:
        if buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        connection.settimeout(30)
        connection.connect(("127.0.0.1", service.ports["api"]))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


def request(body: object) -> bytes:
    text = json.dumps(body).encode()
    return POST % len(text) + text


def answer_to(connection: socket.socket, begin: bytes, drop: bytes, every: float = 0.2) -> tuple[bytes, float]:
    """What comes until the connection ends, and after how many seconds it does, while a drop is sent now and then."""
    began, received = time.monotonic(), b""
    connection.sendall(begin)
    connection.settimeout(every)
    while time.monotonic() - began < 40:
        try:
            part = connection.recv(65536)
            if not part:
                return received, time.monotonic() - began
            received += part
        except TimeoutError:
            with suppress(ConnectionError):
                connection.sendall(drop)
        except ConnectionError:
            return received, time.monotonic() - began
    raise AssertionError(f"the connection is still open; received: {received!r}")


# What is sent at once, and then again and again; the answers' statuses; within how many seconds the connection ends.
ATTACKS = {
    "nothing": (b"", b"", [], (2, 5)),
    "empty lines": (b"\r\n", b"\r\n", [], (2, 5)),
    "half a head": (PING[:20], b"", [408], (2, 5)),
    "a head in drops": (PING[:-2], b"a: b\r\n", [408], (2, 5)),
    "a head in drops after an answer": (PING + PING[:-2], b"a: b\r\n", [200, 408], (2, 5)),
    "nothing after an answer": (PING, b"", [200], (2, 5)),
    "empty lines after an answer": (PING, b"\r\n", [200], (2, 5)),
    "half a body": (POST % 100 + b"[", b"", [408], (9, 14)),
    "no body": (POST % 100, b"", [408], (9, 14)),
    "a body in drops": (POST % 50_000 + b"[", b" " * 100, [408], (9, 14)),
    "a chunked body in drops": (CHUNKED, b"64\r\n" + b" " * 100 + b"\r\n", [408], (9, 14)),
    "chunks without content": (CHUNKED + b"1;a=", b"b" * 500, [408], (9, 14)),
    "a body that takes too long": (POST % 90_000 + b"[", b" " * 400, [408], (14, 20)),
    "a chunked body that takes too long": (CHUNKED, b"190\r\n" + b" " * 400 + b"\r\n", [408], (14, 20)),
    "a body that nobody wants, in drops": (PING[:-2] + b"Content-Length: 9000\r\n\r\n", b"a", [200], (9, 14)),
    "a body after its refusal, in drops": (POST % 1_000_000, b" ", [413], (9, 14)),
    "no body after its refusal": (POST % 1_000_000, b"", [413], (9, 14)),
    "no HTTP, in drops": (b"\x16\x03\x01", b"a", [400], (0, 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_a_client_that_is_too_slow_is_closed(bounded: Service, name: str) -> None:
    begin, drop, statuses, (least, most) = ATTACKS[name]
    with connected(bounded) as connection:
        received, seconds = answer_to(connection, begin, drop)
    assert [int(status) for status in re.findall(rb"HTTP/1.1 (\d{3}) ", received)] == statuses
    assert least - 1.5 <= seconds <= most
    if statuses[-1:] == [408]:
        head, _, body = received.rpartition(b"\r\n\r\n")
        assert b"\r\nconnection: close" in head
        assert json.loads(body)["title"] == "Request timeout"


def test_a_client_that_does_not_read_is_closed(bounded: Service) -> None:
    [api] = children_of(bounded.pid("api"))
    before = connections_of(api)
    with connected(bounded, buffer=4096) as connection:
        connection.sendall(request(LARGE))
        eventually(lambda: connections_of(api) == before + 1, "it is connected")
        began = time.monotonic()
        eventually(lambda: connections_of(api) == before, "its connection is closed")
        assert time.monotonic() - began > BOUNDS["SEND_TIMEOUT"] - 1.5
        assert len(read_all(connection)) < 10_000_000


def test_a_client_that_reads_slowly_gets_its_answer(bounded: Service) -> None:
    with connected(bounded, buffer=200_000) as connection:
        connection.sendall(request({"predict": "{'text': 'x' * 8_000_000}"}))
        received, until = 0, time.monotonic() + 2.5 * BOUNDS["SEND_TIMEOUT"]
        while time.monotonic() < until:  # most of the time it does nothing
            received += len(connection.recv(100_000))
            time.sleep(0.4)
        while received < 8_000_000:
            part = connection.recv(1_000_000)
            assert part
            received += len(part)


def test_a_client_that_sends_slowly_is_answered(bounded: Service) -> None:
    """A bit faster than it must be, for longer than that is looked at."""
    body = json.dumps({"text": "x" * 18_000}).encode()
    with connected(bounded) as connection:
        connection.sendall(POST % len(body))
        for place in range(0, len(body), 300):
            connection.sendall(body[place : place + 300])
            time.sleep(0.2)
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_waits_for_its_predictions_may_be_silent(bounded: Service) -> None:
    seconds = 2.5 * BOUNDS["HEAD_TIMEOUT"]
    with connected(bounded) as connection:
        # And the next request has begun to come.
        connection.sendall(request({"predict": f"(time.sleep({seconds}), {{}})[1]"}) + PING[:20])
        assert connection.recv(1000).startswith(b"HTTP/1.1 20")
        connection.sendall(PING[20:])
        assert connection.recv(1000).endswith(b"pong")


def test_what_was_closed_is_told_once_a_minute(new_service: Callable[..., Service]) -> None:
    service = new_service(EXECUTOR="inline", **BOUNDS)
    source = service.project / "denzel/server/keeper.py"
    text = source.read_text()
    assert "\n_TELL_EVERY = 60.0\n" in text
    source.write_text(text.replace("\n_TELL_EVERY = 60.0\n", "\n_TELL_EVERY = 6.0\n"))
    service.start("api")
    with ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(connected(service)).sendall(PING[:20])
        for _ in range(3):
            stack.enter_context(connected(service))
        stack.enter_context(connected(service)).sendall(b"nonsense\r\n\r\n")
        eventually(lambda: "Closed connections" in service.log("api"), "they are told")
        time.sleep(7)
    [line] = [line for line in service.log("api").splitlines() if "Closed connections" in line]
    assert "30 with a head that was not complete in time (HEAD_TIMEOUT)" in line
    assert "3 without a request (HEAD_TIMEOUT)" in line
    assert "1 with what is no proper HTTP" in line
    assert line.endswith("most of them from 127.0.0.1")
    assert service.log("api").count("from 127.0.0.1") == 1


# ---- Descriptors -----------------------------------------------------------------------------------------------------


@pytest.fixture
def descriptors() -> Iterator[None]:
    """This process may have as many as the system allows: the attackers are here."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def limited(service: Service, *limits: str) -> Service:
    """The same, with these limits (`ulimit`) on its API."""
    entrypoint = service.project / "entrypoints/api.sh"
    text = entrypoint.read_text()
    entrypoint.write_text(text.replace("\nset -eu\n", "".join(f"\nulimit {limit}" for limit in limits) + "\nset -eu\n"))
    return service


@pytest.mark.parametrize(
    ("limits", "count"), [(["-Sn 1024"], 5000), (["-Sn 1024", "-Hn 1024"], 5000)], ids=["soft", "hard"]
)
@pytest.mark.parametrize("sent", [b"", PING[:20], POST % 1000 + b"["], ids=["silent", "heads", "bodies"])
@pytest.mark.usefixtures("descriptors")
def test_thousands_of_stuck_connections_cost_no_request(
    new_service: Callable[..., Service], limits: list[str], count: int, sent: bytes
) -> None:
    service = limited(new_service(EXECUTOR="inline", HEAD_TIMEOUT=60, BODY_MIN_RATE=0), *limits)
    service.start("api")
    with ExitStack() as stack:
        for number in range(count):
            connection = stack.enter_context(connected(service))
            with suppress(ConnectionError):  # it had to make room already
                connection.sendall(sent)
            if number % 50 == 0:
                assert service.predict({"number": number}).json() == {"answer": {"number": number}}
        for number in range(100):
            assert service.predict({"number": number}).json() == {"answer": {"number": number}}
            assert service.get("/ping").text == "pong"
            assert service.get("/ready").status_code == 200
    service.stop("api")
    text = service.log("api")
    assert ("to make room for others" in text) == (len(limits) == 2)
    assert ("There is room for" in text) == (len(limits) == 2)


def test_probes_are_answered_while_all_connections_are_in_use(new_service: Callable[..., Service]) -> None:
    service = new_service(EXECUTOR="inline", API_CONNECTIONS=20, SYNC_TIMEOUT=60)
    service.start("api")
    eventually(lambda: service.get("/ready").status_code == 200, "it is ready")
    with ExitStack() as stack:
        stack.callback((service.project / "go").touch)
        waiting = [stack.enter_context(connected(service)) for _ in range(20)]
        for connection in waiting:
            connection.sendall(request({"predict": "{'go': wait_for('go')}"}))
        eventually(lambda: service.events("predict") or service.events("process"), "they are under way")
        for _ in range(50):
            refused = service.predict({"number": 1})
            assert (refused.status_code, refused.json()["title"]) == (503, "Too many connections")
            assert refused.headers["Retry-After"] == "1"
            assert service.get("/ping").text == "pong"
            assert service.get("/ready").status_code == 200
        silent = [stack.enter_context(connected(service)) for _ in range(100)]
        assert [service.get("/ping").text for _ in silent] == ["pong"] * 100
        (service.project / "go").touch()
        for connection in waiting:
            assert connection.recv(1000).endswith(b'{"go":true}')
    assert service.predict({"number": 1}).status_code == 200


def connections_of(pid: int) -> int:
    """How many established connections a process has."""
    sockets = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            sockets.add(path.readlink().name)
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(f"socket:[{line.split()[9]}]" in sockets for line in lines if line.split()[3] == "01")


def read_all(connection: socket.socket) -> bytes:
    """What comes until the connection ends, in whatever way."""
    received = b""
    with suppress(ConnectionError):
        while part := connection.recv(1_000_000):
            received += part
    return received
