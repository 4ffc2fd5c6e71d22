"""What is refused leaves nothing: no key and no byte in Redis, whatever the reason was, and whoever asked how often."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from denzel.executor import IDEMPOTENCY_EXPIRES
from denzel.queue import keys
from tests.support.http import error_of
from tests.support.services import Service
from tests.support.waiting import eventually

LARGE = "x" * 100_000  # lies beside its record
STORM = 60  # requests
WAYS = ("respond-async", "wait=2")

# In Redis without any request, or for as long as somebody may come again; an expiry (seconds) of these is checked.
PASSING = {keys.RETURNED: 3600, keys.RETURNING: 4000, keys.RETURNING_LIST: 400}


@pytest.fixture(scope="module")
def roomy(new_service: Callable[..., Service]) -> Service:
    """An API whose workers are not there, and which measures the queue's room by itself."""
    service = new_service(
        MAX_QUEUE=2, MAX_QUEUE_BYTES=1_000_000, MAX_WAIT_ASYNC=1, MAX_BODY_BYTES=300_000, MAX_VALUES=1000, MAX_IDS=10,
        METRICS="off", API_MEMORY=10_000_000, CALLBACK_ALLOW="127.0.0.1", VERIFY_TIMEOUT=5, SEND_TIMEOUT=5,
    )  # fmt: skip
    service.start("redis", "api")
    return service


@pytest.fixture
def service(roomy: Service) -> Service:
    """The same, with nothing in its Redis but what its processes tell of themselves."""
    roomy.predict({"number": 0}, "respond-async")  # answered behind all that earlier tests have sent
    empty(roomy)
    return roomy


def empty(service: Service) -> None:
    """Take everything out of its Redis but whose it is."""
    for name in set(service.redis.keys("*")) - {keys.PROJECT.encode()}:
        service.redis.delete(name)


def names_in(service: Service) -> set[str]:
    """The keys in Redis, but for those that are to go by themselves as they should."""
    found = set()
    for name in map(bytes.decode, service.redis.keys("*")):
        most = next((most for start, most in PASSING.items() if name.startswith(start)), 0)
        if not (most and 0 < service.redis.ttl(name) <= most):
            found.add(name)
    return found


def staying(service: Service) -> set[str]:
    """The keys in Redis that are no task's, and will be there for longer than a minute."""
    names = names_in(service)
    tasks = {name.removeprefix(keys.TASK) for name in names if name.startswith(keys.TASK)}
    found = set()
    for name in names - {keys.PROJECT, keys.WAITING, keys.WAITING_BYTES, keys.BESIDE, keys.TICKETS}:
        if name.startswith(keys.IDEMPOTENCY):
            whose = (service.redis.get(name) or b"").decode().partition(" ")[0]
        else:
            whose = name.removeprefix(keys.TASK).removeprefix(keys.REQUEST)
        if whose not in tasks and not 0 < service.redis.ttl(name) <= 60:
            found.add(name)
    return found


def bytes_in(service: Service) -> int:
    """Bytes of all that lies in Redis."""
    return sum(service.redis.memory_usage(name) or 0 for name in service.redis.keys("*"))


def storm(service: Service, bodies: list[Any], ways: tuple[str, ...] = WAYS, **headers: str) -> list[requests.Response]:
    """Send requests from several clients at once, every other one with an Idempotency-Key of its own; their answers."""

    def send(number: int) -> requests.Response:
        named = {"Idempotency-Key": f"{os.urandom(4).hex()}-{number}"} if number % 2 else {}
        body = bodies[number % len(bodies)]
        if isinstance(body, dict):
            body = {**body, "number": number}
        return service.predict(body, ways[number // 2 % len(ways)], headers={**named, **headers})

    with ThreadPoolExecutor(8) as clients:
        return list(clients.map(send, range(STORM)))


@contextmanager
def nothing_is_left(service: Service) -> Iterator[None]:
    """What the block does leaves nothing in Redis."""
    names, size = names_in(service), bytes_in(service)
    yield
    left = eventually(lambda: [names_in(service) - names], "what was refused is taken out")
    assert left == [set()]
    assert names_in(service) == names
    assert bytes_in(service) <= size + 40_000  # who is to come again, each with some 100 bytes


def codes(answers: list[requests.Response]) -> set[int]:
    return {answer.status_code for answer in answers}


def test_too_many_wait(service: Service) -> None:
    for _ in range(2):
        service.submit({"a": 1})
    with nothing_is_left(service):
        answers = storm(service, [{"a": 1}, {"a": LARGE}])
        assert codes(answers) == {429}
        assert error_of(answers[0])[2] == "2 tasks are waiting already; try again later."
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers)


def test_too_many_bytes_wait(service: Service) -> None:
    service.submit({"a": "x" * 290_000})
    service.environment |= {"MAX_QUEUE": "100", "MAX_QUEUE_BYTES": "1000000"}
    service.restart("api")
    try:
        for _ in range(2):
            service.submit({"a": "x" * 290_000})
        with nothing_is_left(service):
            answers = storm(service, [{"a": "x" * 200_000}])
            assert codes(answers) == {429}
            why = "3 tasks are waiting already, with as many bytes as may (MAX_QUEUE_BYTES); try again later."
            assert error_of(answers[0]) == (429, "Too many requests", why)
            assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers)
        small = [service.submit({"a": 1}) for _ in range(3)]
        assert int(service.redis.get(keys.WAITING_BYTES)) <= 1_000_000
        for task_id in [name.decode().removeprefix(keys.TASK) for name in service.redis.keys(f"{keys.TASK}*")]:
            service.request("DELETE", f"/status/{task_id}")
        assert service.status(small[0])["status"] == "REVOKED"
        assert int(service.redis.get(keys.WAITING_BYTES)) == 0
        service.submit({"a": "x" * 290_000})
    finally:
        service.environment |= {"MAX_QUEUE": "2"}
        service.restart("api")


def test_it_would_wait_too_long(service: Service) -> None:
    service.submit({"a": 1})
    with nothing_is_left(service):
        service.redis.set(keys.SPEED, "0.5 0.1")  # tasks a second
        answers = storm(service, [{"a": 1}, {"a": LARGE}])
        assert codes(answers) == {429}
        assert "of work wait already" in error_of(answers[0])[2]
        service.redis.delete(keys.SPEED)


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        ({"a": "x" * 400_000}, {}, 413),
        (list(range(2000)), {}, 413),
        ({"data": dict.fromkeys("abcdefghijklmnop", 1)}, {}, 413),
        (b'{"a":', {}, 400),
        ({"verify_input": "throw(ValueError('no'))"}, {}, 400),
        ({"verify_input": "throw(KeyError('mistake'))"}, {}, 400),
        ({"a": 1, "callback_uri": "http://10.0.0.1/"}, {}, 400),
        ({"a": 1}, {"Content-Encoding": "gzip"}, 415),
        ({"a": 1}, {"Idempotency-Key": "k" * 300}, 400),
        ({"verify_input": "{'a': float('nan')}"}, {}, 500),
    ],
    ids=["bytes", "values", "ids", "json", "input", "mistake", "callback", "gzip", "key", "answer"],
)
def test_it_is_not_as_it_should_be(service: Service, body: Any, headers: dict[str, str], code: int) -> None:
    with nothing_is_left(service):
        assert codes(storm(service, [body], ("respond-async",), **headers)) == {code}


def test_its_key_belongs_to_another_request(service: Service) -> None:
    key = {"Idempotency-Key": "the same"}
    assert service.predict({"a": 1}, "respond-async", headers=key).status_code == 200
    with nothing_is_left(service):
        assert codes(storm(service, [{"a": LARGE}], **key)) == {422}
    [name] = service.redis.keys(f"{keys.IDEMPOTENCY}*")
    assert service.redis.ttl(name) > IDEMPOTENCY_EXPIRES - 600


def test_redis_keeps_what_room_it_has_for_answers(service: Service) -> None:
    service.redis.set(keys.FULL, 1)
    with nothing_is_left(service):
        answers = storm(service, [{"a": 1}, {"a": LARGE}])
        assert codes(answers) == {503}
        assert {error_of(answer)[2] for answer in answers} == {
            "Redis is full (REDIS_MAXMEMORY in .env); there will be room when results have expired."
        }


def test_redis_is_full(service: Service) -> None:
    with nothing_is_left(service):
        service.redis.config_set("maxmemory", 1)
        try:
            assert codes(storm(service, [{"a": 1}, {"a": LARGE}])) == {503}
        finally:
            service.redis.config_set("maxmemory", 0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value", [1, LARGE], ids=["small", "large"])
def test_redis_does_not_answer(service: Service, way: str, value: Any) -> None:
    """Nobody knows then what it has accepted: keys stay for a minute, so that no task is run twice."""
    with service.paused("redis"), ThreadPoolExecutor(10) as clients:
        named = [{"Idempotency-Key": f"{os.urandom(4).hex()}"} if number % 2 else {} for number in range(10)]
        answers = list(clients.map(lambda headers: service.predict({"a": value}, way, headers=headers), named))
    assert codes(answers) == {503}
    eventually(lambda: service.ready()["queue"] is not None, "Redis answers")
    eventually(lambda: not staying(service), lambda: f"{staying(service)} go")


@pytest.mark.parametrize("value", [1, LARGE], ids=["small", "large"])
def test_its_client_has_gone_before_it_was_accepted(service: Service, value: Any) -> None:
    body = json.dumps({"a": value}).encode()
    with service.paused("redis"):
        for number in range(10):
            head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=2\r\nContent-Length: {len(body)}\r\n"
            named = f"Idempotency-Key: {os.urandom(4).hex()}\r\n" if number % 2 else ""
            with socket.create_connection(("127.0.0.1", service.ports["api"]), timeout=5) as client:
                client.sendall(f"{head}{named}\r\n".encode() + body)
    eventually(lambda: service.ready()["queue"] is not None, "Redis answers")
    eventually(lambda: not staying(service), lambda: f"{staying(service)} go")


def test_the_memory_for_requests_is_used_up(service: Service) -> None:
    clients = []
    body = b'["' + b"x" * 250_000
    try:
        for _ in range(40):
            client = socket.create_connection(("127.0.0.1", service.ports["api"]), timeout=5)
            clients.append(client)
            client.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 299000\r\n\r\n" + body)
        eventually(lambda: service.predict({"a": LARGE}, "respond-async").status_code in (429, 503), "it is used up")
        empty(service)
        service.redis.set(keys.FULL, 1)
        with nothing_is_left(service):
            assert codes(storm(service, [{"a": LARGE * 2}])) == {503}
    finally:
        for client in clients:
            client.close()


def test_there_is_no_model(new_service: Callable[..., Service]) -> None:
    service = new_service(SYNC_TIMEOUT=5)
    (service.project / "model").write_text("throw(ValueError('the model is corrupt'))")
    service.start("redis", "api", "denzel")
    eventually(lambda: service.predict({"a": 1}).status_code == 503, "the model does not load", timeout=30)
    service.redis.delete(keys.TOTALS)  # counted anew, each time

    def names() -> set[str]:
        return {name for name in names_in(service) if name.startswith((keys.TASK, keys.REQUEST, keys.IDEMPOTENCY))}

    before = names()
    assert codes(storm(service, [{"a": 1}, {"a": LARGE}], ("wait=2", "wait=3"))) == {503}
    assert names() == before


@pytest.mark.parametrize("settings", [{"MAX_QUEUE": 1}, {"MAX_QUEUE_BYTES": 1_000_000}], ids=["tasks", "bytes"])
def test_the_model_in_the_api_keeps_no_keys_of_what_it_refused(
    new_service: Callable[..., Service], settings: dict[str, Any]
) -> None:
    """Another body each time: with a key that had stayed it would be refused by 422."""
    service = new_service(EXECUTOR="inline", **settings)
    (service.project / "model").write_text("throw(ValueError('the model is corrupt'))")
    service.start("api")
    eventually(lambda: "corrupt" in (service.ready()["reason"] or ""), "the model does not load")
    waits = service.submit({"filler": "x" * 990_000})
    for number in range(30):
        way, code = (("respond-async", 429), ("wait=2", 429), ("wait=2", 503))[number % 3]
        if code == 503:  # no room is looked for first
            service.request("DELETE", f"/status/{waits}")
        answer = service.predict({"number": number, "x": "x" * 50_000}, way, headers={"Idempotency-Key": "k"})
        assert (answer.status_code, answer.headers["Retry-After"]) == (code, "1")
        if code == 503:
            waits = service.submit({"filler": "x" * 990_000})
    (service.project / "model").write_text("")
    eventually(lambda: service.ready()["queue"] == 0, "nothing waits", timeout=90)
    ids = {
        service.predict({"number": 9}, "respond-async", headers={"Idempotency-Key": "k"}).json()["data"]["task_id"]
        for _ in range(2)
    }
    assert len(ids) == 1
