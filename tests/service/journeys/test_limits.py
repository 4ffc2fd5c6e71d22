"""Tasks that take too long, and new code taken up while the service runs."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.support.services import Service
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def limited(new_service: Callable[..., Service]) -> Service:
    """A service that gives its tasks a second, or two and a half where they do not listen."""
    service = new_service(TASK_SOFT_TIME_LIMIT=1, TASK_TIME_LIMIT=2.5)
    service.start("redis", "api", "denzel")
    service.wait_ready()
    return service


def test_a_task_over_its_time_fails_and_its_process_goes_on(limited: Service) -> None:
    [process] = limited.predictors()
    response = limited.predict({"predict": "time.sleep(60)"}, prefer="wait=20")
    assert response.status_code == 500
    assert response.json() == {"title": "Error invoking predict", "description": "timed out after 1 s"}
    record = limited.status(response.headers["Denzel-Task-Id"])
    assert record["result"] == {"args": ["timed out after 1 s"], "type": "TimeLimitExceeded"}
    assert 1 <= record["ended"] - record["started"] < 2.4
    assert limited.predict({"a": 1}, prefer="wait=20").json() == {"answer": {"a": 1}}
    assert limited.predictors() == [process]


def test_a_task_that_does_not_listen_is_killed_once_and_kept_to_be_replayed(limited: Service) -> None:
    [process] = limited.predictors()
    body = {"predict": "{'replayed': True} if os.path.exists('replay') else deaf()"}
    behind = []
    response_of = threading.Thread(target=lambda: behind.append(limited.predict({"a": 2}, prefer="wait=20")))
    task_id = limited.submit(body)
    response_of.start()
    record = limited.wait(task_id)
    assert record["status"] == "FAILURE"
    assert record["result"] == {"args": ["timed out after 2.5 s"], "type": "TimeLimitExceeded"}
    assert record["attempts"] == 1
    response_of.join()
    assert behind[0].json() == {"answer": {"a": 2}}
    assert process not in limited.predictors()

    assert task_id in limited.run("denzel.control", "dead").stdout
    (limited.project / "replay").touch()
    done = limited.run("denzel.control", "replay", task_id)
    assert (done.returncode, done.stdout) == (0, "1 task queued again\n")
    assert limited.wait(task_id)["result"] == {"replayed": True}
    assert limited.run("denzel.control", "dead").stdout == "No task was given up\n"
    assert limited.run("denzel.control", "replay", task_id).returncode == 1


@pytest.fixture
def reloading(new_project: Callable[[], object]) -> Iterator[Service]:
    with Service(new_project(), WORKER_CONCURRENCY=2) as service:
        service.start("redis", "api", "denzel")
        service.wait_ready(processes=2)
        yield service


def test_new_code_is_taken_up_without_a_pause(reloading: Service) -> None:
    service, pipeline = reloading, reloading.project / "app/logic/pipeline.py"
    before = service.predictors()
    current = service.submit({"predict": "{'finished': wait_for('finish'), 'by': os.getpid()}"})
    eventually(lambda: service.status(current)["status"] == "STARTED", "a task runs")
    stop, statuses = threading.Event(), []

    def client() -> None:
        while not stop.is_set():
            statuses.append(service.predict({"a": 1}, prefer="wait=20").status_code)

    clients = [threading.Thread(target=client) for _ in range(2)]
    for thread in clients:
        thread.start()
    try:
        correct = pipeline.read_text()
        pipeline.write_text(correct.replace('{"answer": data}', '{"new answer": data}'))
        os.kill(service.pid("denzel"), signal.SIGHUP)
        eventually(lambda: len(service.events("load_model")) == 3, "the first new process loads the model")
        (service.project / "finish").touch()
        eventually(lambda: reloads(service) == 1, "all are replaced")
        eventually(lambda: not set(before) & set(service.predictors()), "the old ones are gone")
        assert service.predict({"a": 1}).json() == {"new answer": {"a": 1}}
        assert service.wait(current)["result"]["by"] in before
        assert service.status(current)["attempts"] == 1
    finally:
        stop.set()
        for thread in clients:
            thread.join()
    assert set(statuses) == {200}
    assert service.ready()["workers"][0]["reload_error"] is None
    assert len(service.predictors()) == 2


def test_code_that_is_corrected_while_it_loads_is_never_used(reloading: Service) -> None:
    """A further signal makes what is under way void: who waits for the second need not wait for the first."""
    service, pipeline = reloading, reloading.project / "app/logic/pipeline.py"
    correct = pipeline.read_text()
    pipeline.write_text(correct + "\nwhile True: time.sleep(0.01)\n")
    os.kill(service.pid("denzel"), signal.SIGHUP)
    eventually(lambda: len(service.predictors()) == 3, "a process with the code that hangs has been started")
    eventually(lambda: service.ready()["workers"][0]["reloading"], "the reload is told")
    pipeline.write_text(correct.replace('{"answer": data}', '{"corrected": data}'))
    os.kill(service.pid("denzel"), signal.SIGHUP)
    eventually(lambda: reloads(service) == 2, "both have ended")
    worker = service.ready()["workers"][0]
    assert (worker["reload_error"], worker["replaced"]) == (None, 2)
    assert service.predict({"a": 1}, prefer="wait=20").json() == {"corrected": {"a": 1}}
    eventually(lambda: len(service.predictors()) == 2, "nothing else is left")


def reloads(service: Service) -> int:
    """The reloads that were asked for; 0 while one is under way."""
    worker = service.ready()["workers"][0]
    return 0 if worker["reloading"] else worker["reloads"]


def test_new_code_that_does_not_start_leaves_the_old_at_work(reloading: Service) -> None:
    service, pipeline = reloading, reloading.project / "app/logic/pipeline.py"
    before = service.predictors()
    pipeline.write_text("x = = 1")
    os.kill(service.pid("denzel"), signal.SIGHUP)
    error = "app/logic/pipeline.py, line 1: invalid syntax"
    eventually(lambda: service.ready()["workers"][0]["reload_error"] == error, "the error is told")
    eventually(lambda: service.predictors() == before, "the old processes are left, and nothing else")
    assert service.get("/ready").status_code == 200
    assert service.predict({"a": 1}, prefer="wait=20").json() == {"answer": {"a": 1}}
