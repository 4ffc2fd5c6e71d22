"""More load than the workers can do, and clients that do not wait for their answers."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection

import aiohttp
import pytest
import requests

from tests.support.services import Service
from tests.support.waiting import eventually

CALL = 0.05  # seconds
SLEEPING = {"predict": f"(time.sleep({CALL}), {{'a': 1}})[1]"}


@pytest.fixture(scope="module")
def two_processes(new_service: Callable[..., Service]) -> Service:
    service = new_service(WORKER_CONCURRENCY=2, API_WORKERS=2, MAX_WAIT_ASYNC=8)
    service.start("redis", "api", "denzel")
    service.wait_ready(processes=2)
    for _ in range(20):
        assert service.predict(SLEEPING).json() == {"a": 1}
    eventually(lambda: service.redis.exists("denzel/tested:speed"), "the speed is known")
    return service


@pytest.fixture
def two(two_processes: Service) -> Service:
    """Nobody has been told to come again."""
    for key in two_processes.redis.scan_iter("denzel/tested:return*"):
        two_processes.redis.delete(key)
    return two_processes


async def load(url: str, rate: float, seconds: float, obey_until: float = 0) -> list[tuple[float, int, float, bool]]:
    """When each request was answered, with which status, after which time, and whether it came again."""
    answers: list[tuple[float, int, float, bool]] = []
    begin = time.monotonic()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask(number: int, again: bool = False) -> None:
            began = time.monotonic()
            async with session.post(f"{url}/predict", json={**SLEEPING, "note": f"load-{number}"}) as response:
                await response.read()
            now = time.monotonic()
            answers.append((now - begin, response.status, now - began, again))
            if response.status == 429 and not again:
                after = int(response.headers["Retry-After"])
                if now - begin + after < obey_until:
                    await asyncio.sleep(after)
                    await ask(number, again=True)

        async def ping() -> None:
            while time.monotonic() < begin + seconds:
                began = time.monotonic()
                async with session.get(f"{url}/ping") as response:
                    assert response.status == 200
                assert time.monotonic() - began < 1
                await asyncio.sleep(0.1)

        asking = [asyncio.create_task(ping())]
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0, begin + number / rate - time.monotonic()))
            asking.append(asyncio.create_task(ask(number)))
        await asyncio.gather(*asking)
    return answers


@pytest.mark.parametrize("times", [2, 10])
def test_as_much_as_can_be_done_is_done_in_time_and_the_rest_refused_at_once(two: Service, times: int) -> None:
    speed = float(two.redis.get("denzel/tested:speed").split()[0])
    answers = asyncio.run(load(two.url, times * speed, 10, obey_until=10))
    assert {status for _, status, _, _ in answers} <= {200, 202, 429}
    for begin, end in ((0, 5), (5, 10)):
        good = sum(status == 200 and took < 5 for moment, status, took, _ in answers if begin <= moment < end)
        assert good >= 0.7 * speed * 5  # the machine may have other work
    refused = sorted(took for _, status, took, _ in answers if status == 429)
    assert refused[len(refused) // 2] < 0.1
    again = [status for _, status, _, came_again in answers if came_again]
    assert sum(status != 429 for status in again) >= 0.8 * len(again) > 0
    eventually(lambda: two.redis.llen("denzel/tested:waiting") == 0, "nothing waits")
    assert two.predict(SLEEPING).status_code == 200


def test_a_client_is_told_why_and_when_to_come_again(two: Service) -> None:
    with filled(two, 120):
        response = requests.post(f"{two.url}/predict", json=SLEEPING, headers={"Prefer": "wait=1"}, timeout=5)
    assert response.status_code == 429
    assert response.elapsed.total_seconds() < 1
    error = response.json()
    assert error["title"] == "Too many requests"
    after = int(response.headers["Retry-After"])
    assert error["description"].endswith(
        f"s of work wait already, your request waits 1 s at most; try again in {after} s."
    )
    assert 1 <= after <= 10


def test_asynchronous_tasks_wait_no_longer_than_they_may(two: Service) -> None:
    speed = float(two.redis.get("denzel/tested:speed").split()[0])
    with filled(two, math.ceil(speed * 9.5)):
        response = requests.post(f"{two.url}/predict", json=SLEEPING, headers={"Prefer": "respond-async"}, timeout=5)
    assert response.status_code == 429
    assert response.json()["description"].split(", ")[1].startswith("8 s at most may (MAX_WAIT_ASYNC); try again in ")
    assert int(response.headers["Retry-After"]) >= 1


@contextmanager
def filled(service: Service, count: int) -> Iterator[None]:
    """Within the block the processes are frozen, and so many tasks wait."""
    pids = service.predictors()
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        service.redis.rpush("denzel/tested:waiting", *(f"none-{number}" for number in range(count)))
        yield
    finally:
        service.redis.delete("denzel/tested:waiting")
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


# ---- Clients that go ---------------------------------------------------------------------------------------------


def connect(service: Service, body: dict, *headers: str) -> socket.socket:
    """A client that has sent its request."""
    text = json.dumps(body)
    head = ["POST /predict HTTP/1.1", "Host: a", "Prefer: wait=30", f"Content-Length: {len(text)}", *headers, "", ""]
    connection = socket.create_connection(("127.0.0.1", service.ports["api"]), timeout=20)
    connection.sendall("\r\n".join(head).encode() + text.encode())
    return connection


def started(service: Service, count: int) -> bool:
    records = [service.redis.hget(key, "status") for key in service.redis.keys("denzel/tested:task:*")]
    return records.count(b"STARTED") == count


@pytest.fixture
def busy(two: Service) -> Iterator[Service]:
    """Both processes have work until the end of the test."""
    (two.project / "go").unlink(missing_ok=True)
    ids = [two.submit({"predict": "{'go': wait_for('go')}"}) for _ in range(2)]
    eventually(lambda: all(two.status(one)["status"] == "STARTED" for one in ids), "both work")
    yield two
    (two.project / "go").touch()
    for one in ids:
        assert two.wait(one)["status"] == "SUCCESS"


def test_what_clients_wait_for_that_go_is_taken_back(busy: Service) -> None:
    with ExitStack() as stack:
        for number in range(200):
            stack.enter_context(connect(busy, {"note": f"gone-{number}"}))
        eventually(lambda: busy.redis.llen("denzel/tested:waiting") == 200, "they wait")
    eventually(lambda: busy.redis.llen("denzel/tested:waiting") == 0, "they are taken back", 1.0)


def test_a_client_with_a_key_may_ask_again(busy: Service) -> None:
    connect(busy, SLEEPING, "Idempotency-Key: gone-with-a-key").close()
    eventually(lambda: busy.redis.llen("denzel/tested:waiting") == 1, "it waits")
    time.sleep(0.5)  # would be time enough to take it back
    assert busy.redis.llen("denzel/tested:waiting") == 1


def test_what_runs_is_left_alone(two: Service) -> None:
    (two.project / "left-alone").unlink(missing_ok=True)
    connection = connect(two, {"note": "left-alone", "predict": "{'a': wait_for('left-alone')}"})
    eventually(lambda: started(two, 1), "it runs")
    connection.close()
    (two.project / "left-alone").touch()
    eventually(lambda: started(two, 0), "it has ended")


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_client_that_ended_its_sending_side_gets_its_answer(busy: Service, version: str) -> None:
    body = json.dumps({"predict": "{'half': 'closed'}"})
    with socket.create_connection(("127.0.0.1", busy.ports["api"]), timeout=20) as connection:
        head = f"POST /predict HTTP/{version}\r\nHost: a\r\nPrefer: wait=30\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall((head + body).encode())
        connection.shutdown(socket.SHUT_WR)
        eventually(lambda: busy.redis.llen("denzel/tested:waiting") == 1, "it waits")
        time.sleep(1.0)  # several interim responses
        assert busy.redis.llen("denzel/tested:waiting") == 1
        (busy.project / "go").touch()
        answer = b"".join(iter(lambda: connection.recv(65536), b""))  # the connection ends with the answer
    interim, _, rest = answer.rpartition(b"HTTP/1.1 200 ")
    assert interim.count(b"HTTP/1.1 100 Continue\r\n\r\n") * 25 == len(interim)
    assert bool(interim) == (version == "1.1")
    assert rest.endswith(b'{"half":"closed"}')


def test_a_library_ignores_interim_responses(busy: Service) -> None:
    connection = HTTPConnection("127.0.0.1", busy.ports["api"], timeout=20)
    connection.request("POST", "/predict", json.dumps({"predict": "{'a': 2}"}), {"Prefer": "wait=30"})
    connection.sock.shutdown(socket.SHUT_WR)
    time.sleep(0.5)
    (busy.project / "go").touch()
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())) == (200, {"a": 2})
