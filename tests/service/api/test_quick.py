"""The quick way of POST /predict: its answers are those of the usual way, whatever becomes of a request on it."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.support.services import Service
from tests.support.waiting import eventually

USUAL = b"TE: trailers\r\n"  # a header that says nothing, and is not plain


@pytest.fixture(scope="module")
def running(new_service: Callable[..., Service]) -> Service:
    service = new_service(SYNC_TIMEOUT=3, TASK_TIME_LIMIT=20)
    service.start("redis", "api", "denzel")
    service.wait_ready()
    return service


@pytest.fixture
def quick(running: Service) -> Iterator[Service]:
    """A service that takes plain requests the quick way."""
    eventually(lambda: is_quick(exchange(running, {"number": 1})[0]), "plain requests go the quick way")
    yield running
    (running.project / "go").unlink(missing_ok=True)


def request(body: object, *headers: bytes) -> bytes:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return b"POST /predict HTTP/1.1\r\nHost: a\r\n%bContent-Length: %d\r\n\r\n%b" % (b"".join(headers), len(text), text)


def exchange(service: Service, body: object, *headers: bytes) -> tuple[bytes, bytes]:
    """The head and the body of an answer, on a connection that ends with it."""
    head, _, rest = service.raw(request(body, b"Connection: close\r\n", *headers)).partition(b"\r\n\r\n")
    return head, rest


def is_quick(head: bytes) -> bool:
    """The two ways put the same headers in a different order."""
    return head.index(b"content-type") < head.index(b"denzel-task-id")


def comparable(head: bytes, rest: bytes) -> tuple[list[bytes], bytes]:
    vary = rb"date: [^\r]*|[0-9a-f]{8}-[0-9a-f-]{27}|dur=[0-9.]+"
    return sorted(re.sub(vary, b"", head).split(b"\r\n")), re.sub(rb"[0-9a-f]{8}-[0-9a-f-]{27}", b"", rest)


@pytest.mark.parametrize(
    "body",
    [
        {"number": 1},
        {"predict": "{'text': 'ä' * 100_000}"},
        {"predict": "1 / 0"},
        {"predict": "'no dictionary'"},
        {"predict": "{'a': float('nan')}"},
        {"verify_input": "throw(ValueError('the field number is missing'))"},
        {"verify_input": "throw(SystemExit(3))"},
        {"verify_input": "{'number': 2}"},
        {"verify_input": "float('nan')"},
        {"callback_uri": "http://127.0.0.1:1/refused"},
        {"verify_input": "{'callback_uri': 'ftp://nowhere'}"},
        {"number": 2**63},
        [1, 2],
        "text",
        b"",
        b"{",
        b"a=b",
        b'{"a": 1e999}',
        b"[" * 2000,
    ],
    ids=repr,
)
def test_both_ways_answer_alike(quick: Service, body: object) -> None:
    assert comparable(*exchange(quick, body)) == comparable(*exchange(quick, body, USUAL))


def test_which_way_is_taken(quick: Service) -> None:
    assert is_quick(exchange(quick, {"number": 1})[0])
    for header in (USUAL, b"Prefer: wait=3\r\n", b"Idempotency-Key: key\r\n"):
        assert not is_quick(exchange(quick, {"number": 1}, header)[0]), header


def test_a_connection_serves_one_request_after_the_other(quick: Service) -> None:
    with socket.create_connection(("127.0.0.1", quick.ports["api"]), timeout=10) as connection:
        stream = connection.makefile("rb")
        for number in range(20):
            connection.sendall(request({"number": number}, *([USUAL] if number % 3 == 0 else [])))
            assert read(stream) == {"answer": {"number": number}}


def test_answers_come_in_the_order_of_the_requests(quick: Service) -> None:
    """All in one packet; the first one takes longest, some go the usual way."""
    bodies = [
        {"predict": "(time.sleep(0.1), {'number': 0})[1]"},
        *({"predict": f"{{'number': {n}}}"} for n in range(1, 9)),
    ]
    packet = b"".join(request(body, *([USUAL] if n % 4 == 2 else [])) for n, body in enumerate(bodies))
    with socket.create_connection(("127.0.0.1", quick.ports["api"]), timeout=10) as connection:
        connection.sendall(packet)
        stream = connection.makefile("rb")
        assert [read(stream) for _ in bodies] == [{"number": number} for number in range(9)]


@pytest.mark.parametrize("at", [10, 60, -5, -1])
def test_a_request_may_come_in_pieces(quick: Service, at: int) -> None:
    whole = request({"number": 7}, b"Connection: close\r\n")
    with socket.create_connection(("127.0.0.1", quick.ports["api"]), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(whole[:at])
        assert quick.get("/ping").status_code == 200  # the first piece has been read by then
        connection.sendall(whole[at:])
        assert read(connection.makefile("rb")) == {"answer": {"number": 7}}


def test_a_body_may_have_as_many_bytes_as_the_setting_says(new_service: Callable[..., Service]) -> None:
    service = new_service(MAX_BODY_BYTES=1000)
    service.start("redis", "api", "denzel")
    service.wait_ready()
    eventually(lambda: is_quick(exchange(service, {"number": 1})[0]), "plain requests go the quick way")
    assert exchange(service, {"text": "x" * 2000})[0].startswith(b"HTTP/1.1 413")


def test_it_may_take_longer_than_its_client_waits(quick: Service) -> None:
    """SYNC_TIMEOUT: then the client is told to poll."""
    head, rest = exchange(quick, {"predict": "{'go': wait_for('go')}"})
    assert head.startswith(b"HTTP/1.1 202")
    (quick.project / "go").touch()
    assert quick.wait(json.loads(rest)["data"]["task_id"])["result"] == {"go": True}


def test_a_client_that_goes_leaves_nothing(quick: Service) -> None:
    assert quick.run("denzel.control", "response", "sync", "1000").returncode == 0  # none is refused for its wait
    try:
        first = quick.submit({"predict": "{'go': wait_for('go')}"})
        eventually(lambda: quick.status(first)["status"] == "STARTED", "the process is at work")
        with ExitStack() as stack:
            for _ in range(20):
                connection = socket.create_connection(("127.0.0.1", quick.ports["api"]), timeout=10)
                stack.enter_context(connection).sendall(request({"note": "gone"}))
            eventually(lambda: quick.redis.llen("denzel/tested:waiting") == 20, "they wait")
        eventually(lambda: quick.redis.llen("denzel/tested:waiting") == 0, "nobody waits for them")
        (quick.project / "go").touch()
        assert quick.wait(first)["result"] == {"go": True}
        assert not [words for words in quick.events("process") if words[3] == "gone"]
    finally:
        quick.redis.delete("denzel/tested:synchronous_timeout")


def test_a_process_that_dies_is_not_the_end_of_a_request(quick: Service) -> None:
    body = {"predict": "{'lives': 2} if os.path.exists('died') else (open('died', 'w').close(), os._exit(7))"}
    head, rest = exchange(quick, body)
    if head.startswith(b"HTTP/1.1 202"):  # the next process came up too late
        assert quick.wait(json.loads(rest)["data"]["task_id"])["result"] == {"lives": 2}
    else:
        assert rest == b'{"lives":2}'
    quick.wait_ready()


def test_a_service_that_leaves_answers_first(quick: Service) -> None:
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(exchange, quick, {"note": "leaving", "predict": "{'go': wait_for('go')}"})
        eventually(lambda: [words for words in quick.events("process") if words[3] == "leaving"], "it runs")
        stopping = pool.submit(quick.stop, "api")
        (quick.project / "go").touch()
        assert answer.result()[1] == b'{"go":true}'
        assert stopping.result() == 0
    quick.start("api")


def test_a_client_that_does_not_read_is_not_answered_without_end(quick: Service) -> None:
    """What it is to read is held in memory: no more of it than the usual way holds."""
    body = request({"note": "unread", "predict": "{'text': 'x' * 200_000}"})
    with socket.create_connection(("127.0.0.1", quick.ports["api"]), timeout=10) as connection:
        connection.sendall(body * 400)
        ran = 0
        while (now := len([words for words in quick.events("process") if words[3] == "unread"])) > ran or not now:
            ran = now
            time.sleep(1)
        assert ran < 100
        stream = connection.makefile("rb")
        assert [read(stream) for _ in range(400)] == [{"text": "x" * 200_000}] * 400


def read(stream: object) -> object:
    """The body of the next answer."""
    length = 0
    assert stream.readline() == b"HTTP/1.1 200 OK\r\n"  # type: ignore[attr-defined]
    while (line := stream.readline().lower()) != b"\r\n":  # type: ignore[attr-defined]
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    return json.loads(stream.read(length))  # type: ignore[attr-defined]
