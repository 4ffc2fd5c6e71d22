"""Each life of a prediction process has a name of its own, and new code takes over beside processes that still work."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.services import Service
from tests.support.waiting import eventually


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def service(request: pytest.FixtureRequest, new_service: Callable[..., Service]) -> Iterator[Service]:
    broker = {"BROKER_URL": request.getfixturevalue("rabbitmq")} if request.param == "rabbitmq" else {}
    service = new_service(WORKER_CONCURRENCY=2, **broker)
    service.start("redis", "api", "denzel")
    service.wait_ready(processes=2)
    yield service
    for name in ("denzel", "api", "redis"):
        service.stop(name)


def worker(service: Service) -> dict[str, Any]:
    return service.ready()["workers"][0]


def reload(service: Service) -> dict[str, Any]:
    """Let new processes take over; the worker when they have, or could not."""
    before = worker(service)["reloads"]
    os.kill(service.pid("denzel"), signal.SIGHUP)
    return eventually(
        lambda: (found := worker(service))["reloads"] > before and not found["reloading"] and found,
        "the reload has ended",
        timeout=60,
    )


def names(service: Service) -> list[str]:
    """The names under which processes have looked for messages, in order."""
    return names_in(service.log("denzel"))


def names_in(log: str) -> list[str]:
    return re.findall(r"(\S+@tested) ready\.", log)


def test_new_processes_start_beside_those_that_still_work(service: Service) -> None:
    """Where one leaves slowly, what it holds at the broker is not there for the next one."""
    for _ in range(3):
        working = [service.submit({"predict": "(time.sleep(3), {'a': 1})[1]"}) for _ in range(2)]
        eventually(lambda ids=working: all(service.status(id)["status"] == "STARTED" for id in ids), "both run")
        assert (found := reload(service))["reload_error"] is None, found
        assert found["replaced"] == 2
        assert found["name"] == "worker@tested"
        assert [service.wait(task_id)["attempts"] for task_id in working] == [1, 1]
    assert " ended (" not in service.log("denzel")
    assert len(set(names(service))) == len(names(service)) == 8


def test_a_killed_container_starts_again_at_once(service: Service) -> None:
    """Its connections may still be open at the broker."""
    service.kill("denzel")
    service.start("denzel")
    service.wait_ready(processes=2)
    assert " ended (" not in service.log("denzel")
    assert service.predict({"a": 1}, prefer="wait=10").status_code == 200


def test_a_process_that_dies_comes_back_under_another_name(service: Service) -> None:
    def of_this_supervisor() -> list[str]:
        return names_in(service.log("denzel").rpartition("prediction process(es)")[2])

    eventually(lambda: len(of_this_supervisor()) == 2, "both are there")
    os.kill(service.predictors()[0], signal.SIGKILL)
    assert eventually(lambda: len(found := of_this_supervisor()) == 3 and found, "it is back")[-1] == "worker.3@tested"


def test_remote_control_reaches_every_process(service: Service) -> None:
    code = "import json; from denzel.queue.broker import app; print(json.dumps(app.control.ping(timeout=3)))"
    script = service.project / "ask.py"
    script.write_text(code)
    eventually(lambda: service.run("ask").stdout.count('{"ok": "pong"}') == 2, "both answer")


def test_a_process_that_only_had_bad_luck_is_tried_again(service: Service) -> None:
    """As with a broker that refuses for a moment: it ends, and that is not the fault of the code."""
    once = "os._exit(7) if not Path('died').exists() and not Path('died').touch() else 'model'"
    (service.project / "model").write_text(once)
    try:
        assert reload(service)["reload_error"] is None
        assert "(exit code 7); starting it again" in service.log("denzel")
    finally:
        (service.project / "model").write_text("")


def test_one_that_always_ends_leaves_the_old_ones_at_work_and_says_how_it_ended(service: Service) -> None:
    (service.project / "model").write_text("os.kill(os.getpid(), 9)")
    try:
        error = reload(service)["reload_error"]
    finally:
        (service.project / "model").write_text("")
    assert re.fullmatch(
        r"Prediction process \d+ ended 3 times while it started \(SIGKILL, often: out of memory\)", error
    )
    assert service.predict({"a": 1}, prefer="wait=10").status_code == 200
