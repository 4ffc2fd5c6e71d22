"""Where calls are short, tasks wait for the process that will be back at once, and for no other."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.services import Service
from tests.support.waiting import eventually

SLOW = 2.0  # seconds


@pytest.fixture(scope="module")
def merging(new_service: Callable[..., Service]) -> Service:
    service = new_service("batched", WORKER_CONCURRENCY=2, API_WORKERS=1)
    service.start("redis", "api", "denzel")
    service.wait_ready(processes=2)
    return service


def quick(service: Service) -> float:
    """The seconds that a quick request takes."""
    began = time.monotonic()
    response = service.predict({"data": {"a": "1"}}, prefer="wait=20")
    assert response.json() == {"a": 1}
    return time.monotonic() - began


def test_a_call_that_is_longer_than_expected_holds_nobody_back(merging: Service) -> None:
    for _ in range(3):
        for _ in range(20):
            quick(merging)  # calls have become short
        with ThreadPoolExecutor(8) as pool:
            slow = merging.submit({"data": {"a": f"time.sleep({SLOW}) or 2"}})
            others = [pool.submit(quick, merging) for _ in range(8)]
            assert max(other.result() for other in others) < SLOW - 0.5
            assert merging.status(slow)["status"] == "STARTED"
        assert merging.wait(slow)["result"] == {"a": 2}


def test_what_waits_for_a_process_that_does_not_come_is_given_to_another(merging: Service) -> None:
    """By the API; the supervisor, whose heartbeats would do it too, is frozen."""
    eventually(lambda: not merging.redis.exists("denzel/tested:idle:3"), "nobody waits to be handed a task")
    with merging.paused("denzel"):
        merging.redis.set("denzel/tested:quick", "a process that does not come", px=500)
        response = merging.predict({"data": {"a": "1"}}, prefer="wait=4")
    assert response.json() == {"a": 1}


def test_a_process_says_that_it_is_quick_while_its_calls_are_short(merging: Service) -> None:
    def says(expression: str) -> str | None:
        merging.predict({"data": {"a": expression}}, prefer="wait=20")
        return last_idle(merging)

    for _ in range(2):
        eventually(lambda: says("1") == "1", "it is quick")
        eventually(lambda: says("time.sleep(0.01)") == "0", "it is not")


def test_a_process_that_does_not_merge_never_says_that_it_is_quick(service: Service) -> None:
    def says() -> str | None:
        service.predict({"a": 1}, prefer="wait=20")
        return last_idle(service)

    said = {says() for _ in range(40)}
    assert "0" in said
    assert "1" not in said


def last_idle(service: Service) -> str | None:
    """What the process that became idle last has said: 1, it is quick; None if nobody is idle any more."""
    listed = service.redis.lindex("denzel/tested:idle:3", 0)
    return listed.decode().split()[-1] if listed else None


def test_nothing_is_left_waiting_after_many_clients(merging: Service) -> None:
    with ThreadPoolExecutor(16) as pool:
        assert max(pool.map(lambda _: quick(merging), range(400))) < 5
    eventually(lambda: merging.redis.llen("denzel/tested:waiting") == 0, "nothing waits")
    eventually(lambda: not merging.redis.keys("denzel/tested:claims:*"), "nothing is claimed")
