"""Where calls are short, tasks wait for the process that will be back at once, and for no other."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.project.services import Service, eventually

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


def test_nothing_is_left_waiting_after_many_clients(merging: Service) -> None:
    with ThreadPoolExecutor(16) as pool:
        assert max(pool.map(lambda _: quick(merging), range(400))) < 5
    eventually(lambda: merging.redis.llen("denzel:waiting") == 0, "nothing waits")
    eventually(lambda: not merging.redis.keys("denzel:claims:*"), "nothing is claimed")
