"""Processes that are killed, hang, or are stopped at work: every accepted task still ends, once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.processes import children_of
from tests.support.services import Service
from tests.support.waiting import eventually

LONG = 12.0  # seconds: longer than any lease or visibility timeout in the service


@pytest.fixture(scope="module")
def three(new_service: Callable[..., Service]) -> Service:
    """A service with three prediction processes."""
    service = new_service(WORKER_CONCURRENCY=3)
    service.start("redis", "api", "denzel")
    service.wait_ready(processes=3)
    return service


@pytest.fixture(scope="module")
def long_task(three: Service) -> str:
    """A long task that runs while the tests of this module do their worst to others."""
    return three.submit({"note": "long", "predict": f"(time.sleep({LONG}), {{'slept': True}})[1]"})


@pytest.fixture
def busy(three: Service, long_task: str) -> Iterator[Service]:
    """The service with the long task running, complete again after the test."""
    eventually(lambda: runs_of(three, "long"), "the long task runs")
    yield three
    eventually(lambda: len(three.predictors()) == 3, "whatever ended is started again")
    three.wait_ready(processes=3)


def runs_of(service: Service, note: str) -> list[int]:
    """The processes in which the task with this note was begun, in order."""
    return [int(words[1]) for words in service.events("process") if words[3] == note]


def begun(service: Service, note: str, times: int = 1) -> int:
    """Wait until a task has been begun so many times; the process that did it last."""
    return eventually(lambda: len(found := runs_of(service, note)) >= times and found, f"{note} runs")[-1]


def test_a_task_whose_process_is_killed_runs_again_within_seconds(busy: Service) -> None:
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(busy.predict, {"note": "killed", "predict": "{'go': wait_for('go')}"}, prefer="wait=30")
        os.kill(begun(busy, "killed"), signal.SIGKILL)
        killed = time.monotonic()
        begun(busy, "killed", times=2)
        assert time.monotonic() - killed < 3
        (busy.project / "go").touch()
        assert answer.result().json() == {"go": True}
    record = busy.status(answer.result().headers["Denzel-Task-Id"])
    assert record["attempts"] == 2
    first, second = runs_of(busy, "killed")
    assert first != second


def test_a_cancelled_task_ends_and_its_process_goes_on(busy: Service) -> None:
    task_id = busy.submit({"note": "cancelled", "predict": "time.sleep(60)"})
    process = begun(busy, "cancelled")
    response = busy.request("DELETE", f"/status/{task_id}")
    assert (response.status_code, response.json()["status"]) == (202, "REVOKED")
    eventually(lambda: f"Task {task_id} was cancelled: its call has ended" in busy.log("denzel"), "its call ends")
    assert busy.request("DELETE", f"/status/{task_id}").status_code == 409
    assert busy.status(task_id)["status"] == "REVOKED"
    assert process in busy.predictors()
    assert runs_of(busy, "cancelled") == [process]


def test_an_api_process_that_is_killed_loses_no_task(busy: Service) -> None:
    task_id = busy.submit({"note": "orphan", "predict": "{'home': wait_for('home')}"})
    begun(busy, "orphan")
    for process in children_of(busy.pid("api")):
        os.kill(process, signal.SIGKILL)
    (busy.project / "home").touch()
    eventually(lambda: reaches(busy), "the API is back")
    assert busy.wait(task_id)["result"] == {"home": True}


def reaches(service: Service) -> bool:
    import requests

    try:
        return service.get("/ping").status_code == 200
    except requests.ConnectionError:
        return False


def test_a_task_that_kills_its_process_is_given_up_and_stops_no_other(busy: Service) -> None:
    poison = busy.submit({"note": "poison", "predict": "os._exit(7)"})
    others = [busy.submit({"number": number}) for number in range(20)]
    for number, task_id in enumerate(others):
        assert busy.wait(task_id)["result"] == {"answer": {"number": number}}
    record = busy.wait(poison, timeout=30)
    assert record["status"] == "FAILURE"
    assert record["result"] == {
        "args": ["the process that ran this task died, 3 times (exit code 7)"],
        "type": "WorkerLostError",
    }
    assert record["attempts"] == 3
    assert len(set(runs_of(busy, "poison"))) == 3
    dead = busy.run("denzel.control", "dead").stdout
    assert poison in dead
    assert "os._exit(7)" in dead


def test_a_long_task_is_not_run_twice(busy: Service, long_task: str) -> None:
    record = busy.wait(long_task, timeout=LONG + 5)
    assert record["result"] == {"slept": True}
    assert record["attempts"] == 1
    assert record["ended"] - record["started"] >= LONG
    assert len(runs_of(busy, "long")) == 1


# ---- The whole container ---------------------------------------------------------------------------------------------


@pytest.fixture
def single(new_project: Callable[[], object]) -> Iterator[Service]:
    """A service with one prediction process."""
    with Service(new_project()) as service:
        service.start("redis", "api", "denzel")
        service.wait_ready()
        yield service


def test_sigterm_lets_the_current_task_end_and_leaves_the_others_for_later(single: Service) -> None:
    current = single.submit({"note": "current", "predict": "{'last': wait_for('last')}"})
    begun(single, "current")
    later = single.submit({"note": "later"})
    os.kill(single.pid("denzel"), signal.SIGTERM)
    eventually(lambda: "Warm shutdown" in single.log("denzel"), "the process is told to stop")
    (single.project / "last").touch()
    assert single.stop("denzel") == 0
    record = single.status(current)
    assert (record["status"], record["result"], record["attempts"]) == ("SUCCESS", {"last": True}, 1)
    assert single.status(later)["status"] == "PENDING"
    assert runs_of(single, "later") == []
    single.start("denzel")
    assert single.wait(later)["attempts"] == 1


def test_tasks_of_a_killed_container_run_in_the_next_one(single: Service) -> None:
    tasks = [single.submit({"note": f"task-{number}", "predict": "{'now': wait_for('now')}"}) for number in range(3)]
    begun(single, "task-0")
    single.kill("denzel")
    (single.project / "now").touch()
    single.start("denzel")
    for task_id in tasks:
        assert single.wait(task_id, timeout=20)["result"] == {"now": True}
    assert len(runs_of(single, "task-0")) == 2
    assert len(runs_of(single, "task-1")) == len(runs_of(single, "task-2")) == 1


def test_a_stop_does_not_wait_for_a_process_that_is_to_be_started_again(single: Service) -> None:
    (single.project / "model").write_text("os._exit(1)")
    os.kill(single.predictors()[0], signal.SIGKILL)
    eventually(lambda: "starting it again in 4 s" in single.log("denzel"), "the pauses grow")
    began = time.monotonic()
    assert single.stop("denzel") == 0
    assert time.monotonic() - began < 3
