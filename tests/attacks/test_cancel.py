"""A stranger cancels what runs, again and again: the others are served, and the model stays loaded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.support.services import Service
from tests.support.waiting import eventually

LOADING = 1.5  # seconds of load_model
GRACE = 0.4


@pytest.fixture(scope="module")
def attacked(new_service: Callable[..., Service]) -> Service:
    """Two prediction processes whose model takes a while to load."""
    service = new_service(WORKER_CONCURRENCY=2, CANCEL_GRACE=GRACE, CANCEL_BUDGET=0.1, LOG_REPEATS=0)
    (service.project / "model").write_text(f"time.sleep({LOADING})")
    service.start("redis", "api", "denzel")
    service.wait_ready(processes=2)
    return service


@contextmanager
def cancelling(service: Service, expression: str, every: float = 1.0) -> Iterator[list[str]]:
    """Within the block a task with this expression is sent and, once it runs, cancelled: as often as this (seconds)."""
    stop, cancelled = threading.Event(), []

    def attack() -> None:
        while not stop.is_set():
            began = time.monotonic()
            task_id = service.submit({"predict": expression})
            while service.status(task_id)["status"] == "PENDING" and not stop.is_set():
                time.sleep(0.005)
            service.request("DELETE", f"/status/{task_id}")
            cancelled.append(task_id)
            stop.wait(max(0.0, began + every - time.monotonic()))

    thread = threading.Thread(target=attack)
    thread.start()
    try:
        yield cancelled
    finally:
        stop.set()
        thread.join()


def served(service: Service, seconds: float, clients: int = 2) -> int:
    """How many requests of others are answered in this time, by clients that ask again and again."""
    until, answers = time.monotonic() + seconds, []

    def client() -> None:
        while time.monotonic() < until:
            answers.append(service.predict({"predict": "(time.sleep(0.05), {'ok': 1})[1]"}, prefer="wait=20"))

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {200}
    return len(answers)


@pytest.mark.parametrize(
    "expression",
    [
        "time.sleep(60)",
        "[number for number in iter(int, 1)]",
        "asyncio.run(asyncio.sleep(60))",
        "__import__('subprocess').run(['sleep', '60'])",
    ],
    ids=["sleeping", "computing", "asyncio", "a program"],
)
def test_what_heeds_the_exception_ends_at_once_and_its_process_goes_on(attacked: Service, expression: str) -> None:
    processes, loaded = attacked.predictors(), len(attacked.events("load_model"))
    with cancelling(attacked, expression, every=0.1) as cancelled:
        eventually(lambda: len(cancelled) >= 5, "five are cancelled")
    assert {attacked.status(task_id)["status"] for task_id in cancelled} == {"REVOKED"}
    began = time.monotonic()
    for _ in range(4):
        assert attacked.predict({"a": 1}, prefer="wait=20").json() == {"answer": {"a": 1}}
    assert time.monotonic() - began < LOADING
    assert attacked.predictors() == processes
    assert len(attacked.events("load_model")) == loaded


def test_sixty_a_minute_leave_the_others_more_than_four_fifths(attacked: Service) -> None:
    processes, loaded = attacked.predictors(), len(attacked.events("load_model"))
    alone = under_attack = 0
    for _ in range(2):
        alone += served(attacked, 4)
        with cancelling(attacked, "time.sleep(60)"):
            under_attack += served(attacked, 4)
    assert under_attack > 0.8 * alone, f"{under_attack} requests, {alone} without the attack"
    assert attacked.predictors() == processes
    assert len(attacked.events("load_model")) == loaded


def test_a_waiting_client_is_told_and_the_log_names_the_task(attacked: Service) -> None:
    processes, answers = attacked.predictors(), []
    body = {"note": "direct", "predict": "time.sleep(60)"}
    client = threading.Thread(target=lambda: answers.append(attacked.predict(body, prefer="wait=20")))
    client.start()
    (key,) = eventually(lambda: [*attacked.redis.scan_iter("*:claims:*")], "it is known")
    (task_id,) = map(bytes.decode, attacked.redis.smembers(key))
    assert attacked.request("DELETE", f"/status/{task_id}").status_code == 202
    client.join()
    assert (answers[0].status_code, answers[0].json()["title"]) == (409, "Task cancelled")
    eventually(lambda: f"Task {task_id} was cancelled: its call has ended" in attacked.log("denzel"), "it is logged")
    assert attacked.predictors() == processes


def test_a_signal_that_comes_late_hits_nobody_else(attacked: Service) -> None:
    """Tasks so short that most end as they are cancelled, between tasks of others."""
    processes = attacked.predictors()
    with cancelling(attacked, "(time.sleep(0.02), {'ok': 1})[1]", every=0.0) as cancelled:
        others: list[str] = []
        while len(cancelled) < 10:
            others += [attacked.submit({"predict": "(time.sleep(0.01), 7)[1]"}) for _ in range(4)]
            attacked.wait(others[-1])
        records = [attacked.wait(task_id) for task_id in others]
    assert {record["status"] for record in records} == {"FAILURE"}, "7 is no dictionary: each ran to its end"
    assert {record["result"]["type"] for record in records} == {"BadAnswer"}
    assert attacked.predictors() == processes


def test_what_does_not_heed_it_is_killed_within_a_budget(attacked: Service) -> None:
    """Three kills at first, then as many as loading may take of the time: a tenth of that of both processes."""
    processes, loaded = attacked.predictors(), len(attacked.events("load_model"))
    began = time.monotonic()
    ids = [attacked.submit({"note": f"deaf-{number}", "predict": "stone_deaf(4)"}) for number in range(10)]
    for task_id in ids:
        eventually(lambda task_id=task_id: attacked.status(task_id)["status"] != "PENDING", "it runs", 60)
        attacked.request("DELETE", f"/status/{task_id}")
    assert attacked.predict({"a": 1}, prefer="wait=60", timeout=70).json() == {"answer": {"a": 1}}
    kills = len(attacked.events("load_model")) - loaded
    budget = 3 + (time.monotonic() - began) * 2 * 0.1 / LOADING
    assert 1 <= kills <= budget
    assert attacked.predictors() != processes
    log = attacked.log("denzel")
    assert f"did not end within {GRACE:g} s: Prediction process" in log
    assert "as too many processes were killed for such tasks (CANCEL_BUDGET)" in log
    assert {attacked.status(task_id)["status"] for task_id in ids} == {"REVOKED"}
    eventually(lambda: len(attacked.predictors()) == 2, "both are back")
