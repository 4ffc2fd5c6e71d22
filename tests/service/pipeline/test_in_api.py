"""A verify_input that takes its time holds up nobody else."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from tests.support.http import ASYNC, error_of
from tests.support.services import Service
from tests.support.waiting import eventually


def test_a_hanging_verify_input_ends_as_503_and_stops_nothing_else(waiting: Service) -> None:
    task_id = waiting.submit({"a": 1})
    began = time.monotonic()
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(waiting.predict, {"verify_input": "time.sleep(60)"})
        slowest = 0.0
        while not answer.done():
            asked = time.monotonic()
            assert waiting.get("/ping").status_code == 200
            assert waiting.status(task_id)["status"] == "PENDING"
            slowest = max(slowest, time.monotonic() - asked)
    response = answer.result()
    assert error_of(response)[:2] == (503, "Service busy")
    assert "verify_input did not return within 0.5 seconds" in response.json()["description"]
    assert int(response.headers["Retry-After"]) > 0
    assert 0.5 <= time.monotonic() - began < 5
    assert slowest < 2
    assert waiting.predict({"a": 1}, ASYNC).status_code == 200


def test_requests_behind_a_hanging_one_are_served(waiting: Service) -> None:
    with ThreadPoolExecutor() as pool:
        hanging = pool.submit(waiting.predict, {"verify_input": "(note('hangs'), time.sleep(60))"})
        eventually(lambda: waiting.events("hangs"), "it hangs")
        assert waiting.predict({"a": 1}, ASYNC).status_code == 200
        assert hanging.result().status_code == 503


# Computes for three seconds.
BUSY = "any(time.monotonic() > end for end in [time.monotonic() + 3] for _ in iter(int, 1))"


def test_a_verify_input_that_computes_for_long_leaves_the_rest_alive(waiting: Service) -> None:
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(waiting.predict, {"verify_input": BUSY})
        slowest = 0.0
        while not answer.done():
            asked = time.monotonic()
            assert waiting.get("/ping").status_code == 200
            slowest = max(slowest, time.monotonic() - asked)
    assert slowest < 2
