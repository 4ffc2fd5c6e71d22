"""/ready in all its states, and how models are loaded: errors of pipeline.py and load_model seen, tried again, gone."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.services import Service
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def loading_service(new_service: Callable[..., Service]) -> Service:
    """Redis and the API; the workers come and go."""
    service = new_service()
    service.start("redis", "api")
    return service


@pytest.fixture
def loading(loading_service: Service) -> Iterator[Service]:
    """The same, without workers and with a model that can be loaded."""
    service = loading_service
    model, pipeline = service.project / "model", service.project / "app/logic/pipeline.py"
    text = pipeline.read_text()
    model.write_text("")
    (service.project / "events.txt").unlink(missing_ok=True)
    yield service
    service.stop("denzel")
    service.redis.flushall()
    model.write_text("")
    pipeline.write_text(text)


def ready(service: Service) -> dict[str, Any]:
    """The body of /ready, of each worker what everyone relies on."""
    body = service.ready()
    body["workers"] = [{key: node[key] for key in ("name", "state", "error")} for node in body["workers"]]
    return body


def wait_for(service: Service, state: str, timeout: float = 15.0) -> dict[str, Any]:
    """The body of /ready once the first worker is in this state."""

    def found() -> dict[str, Any] | None:
        body = ready(service)
        return body if body["workers"] and body["workers"][0]["state"] == state else None

    return eventually(found, f"the worker is {state}", timeout)


def not_ready(reason: str, **rest: Any) -> dict[str, Any]:
    return {"title": "Not ready", "description": reason, "ready": False, "reason": reason, **rest}


def worker(state: str, error: str | None = None) -> dict[str, Any]:
    return {"name": "worker@tested", "state": state, "error": error}


def test_no_worker_yet(loading: Service) -> None:
    response = loading.get("/ready")
    assert response.status_code == 503
    assert response.json() == not_ready("no worker has come up yet", workers=[], queue=0)


def test_loading_then_ready_then_stopped(loading: Service) -> None:
    (loading.project / "model").unlink()
    loading.submit({"a": 1})
    loading.start("denzel")
    assert wait_for(loading, "LOADING") == not_ready("the model is loading", workers=[worker("LOADING")], queue=1)
    assert loading.get("/ready").status_code == 503
    assert not (loading.project / ".ready").exists()
    (loading.project / "model").touch()
    wait_for(loading, "UP")
    response = loading.get("/ready")
    assert response.status_code == 200
    assert eventually(lambda: (body := ready(loading))["queue"] == 0 and body, "the queue is empty") == {
        "ready": True, "reason": None, "workers": [worker("UP")], "queue": 0,
    }  # fmt: skip
    eventually((loading.project / ".ready").exists, "the file for the health check is touched")
    loading.stop("denzel")
    assert ready(loading) == not_ready("no worker has come up yet", workers=[], queue=0)


def test_an_error_of_load_model_is_told_and_tried_again(loading: Service) -> None:
    (loading.project / "model").write_text("throw(ValueError('the model is corrupt'))")
    loading.start("denzel")
    error = "load_model raised ValueError: the model is corrupt (app/logic/pipeline.py, line 23)"
    assert wait_for(loading, "ERROR") == not_ready(f"worker@tested: {error}", workers=[worker("ERROR", error)], queue=0)
    eventually(lambda: len(loading.events("load_model")) == 2, "it is tried again")
    assert ready(loading)["workers"] == [worker("ERROR", error)]
    for log in (loading.log("denzel"), (loading.project / "logs/worker.log").read_text()):
        assert log.count("Traceback") == 1
        assert "ValueError: the model is corrupt" in log
        assert "trying again in 1 s" in log
    (loading.project / "model").write_text("{'a': 1}")
    assert wait_for(loading, "UP")["ready"]
    assert loading.predict({"predict": "model"}).json() == {"a": 1}
    assert len(loading.predictors()) == 1


def test_not_even_what_is_no_exception_ends_a_process_that_loads(loading: Service) -> None:
    (loading.project / "model").write_text("throw(asyncio.CancelledError())")
    loading.start("denzel")
    wait_for(loading, "ERROR")
    error = "load_model raised CancelledError (app/logic/pipeline.py, line 23)"
    assert ready(loading)["workers"] == [worker("ERROR", error)]


def test_a_process_that_ends_while_it_loads_is_told_and_started_again(loading: Service) -> None:
    (loading.project / "model").write_text("os._exit(3)")
    loading.start("denzel")
    ended = worker("UNAVAILABLE", "Prediction process 1 has ended and is being started again")
    assert wait_for(loading, "UNAVAILABLE")["workers"] == [ended]
    assert loading.get("/ready").status_code == 503
    assert "Prediction process 1 ended (exit code 3); starting it again in" in loading.log("denzel")
    (loading.project / "model").write_text("")
    loading.wait_ready()


def test_a_broken_pipeline_names_its_line_and_is_taken_up_when_corrected(loading: Service) -> None:
    problem = "app/logic/pipeline.py, line 3: invalid syntax"
    pipeline = loading.project / "app/logic/pipeline.py"
    correct = pipeline.read_text()
    pipeline.write_text("import os\n\nx = = 1\n")
    loading.restart("api")
    loading.start("denzel")
    response = loading.predict({"a": 1})
    assert response.status_code == 500
    assert response.json() == {"title": "Error in pipeline.py", "description": problem}
    assert loading.get("/ping").status_code == 200
    assert wait_for(loading, "ERROR")["workers"] == [worker("ERROR", problem)]
    for name in ("api", "denzel"):
        assert "SyntaxError: invalid syntax" in loading.log(name)
    pipeline.write_text(correct)
    loading.wait_ready()
    assert loading.predict({"a": 1}).json() == {"answer": {"a": 1}}


def test_a_helper_module_with_an_error_is_named(loading: Service) -> None:
    pipeline, helper = loading.project / "app/logic/pipeline.py", loading.project / "app/logic/helper.py"
    correct = pipeline.read_text()
    pipeline.write_text("import app.logic.helper\n" + correct)
    helper.write_text("\n\nx = (\n")
    loading.restart("api")
    answer = loading.predict({"a": 1}).json()
    assert answer["description"].startswith("app/logic/helper.py, line 3: ")
    helper.write_text("")
    eventually(lambda: loading.predict({"a": 1}, prefer="respond-async").status_code == 200, "it is taken up")


def test_the_api_is_not_ready_while_its_own_pipeline_is_broken(loading: Service) -> None:
    loading.start("denzel")
    loading.wait_ready()
    pipeline = loading.project / "app/logic/pipeline.py"
    correct = pipeline.read_text()
    pipeline.write_text("x = = 1")
    loading.restart("api")
    response = loading.get("/ready")
    assert response.status_code == 503
    assert response.json()["reason"] == "app/logic/pipeline.py, line 1: invalid syntax"
    pipeline.write_text(correct)
    loading.wait_ready()


def test_a_dead_worker_is_noticed_within_seconds_and_its_name_is_taken_again(loading: Service) -> None:
    loading.start("denzel")
    loading.wait_ready()
    loading.kill("denzel")
    body = wait_for(loading, "UNAVAILABLE", timeout=8)
    assert body["reason"] == "no worker answers; look at `make logs SERVICE=denzel`"
    assert loading.get("/ready").status_code == 503
    loading.start("denzel")
    loading.wait_ready()
    assert [node["name"] for node in ready(loading)["workers"]] == ["worker@tested"]


def test_a_frozen_prediction_process_is_noticed(loading: Service) -> None:
    loading.start("denzel")
    loading.wait_ready()
    [process] = loading.predictors()
    os.kill(process, signal.SIGSTOP)
    try:
        body = wait_for(loading, "UNAVAILABLE", timeout=9)
        assert body["workers"] == [worker("UNAVAILABLE", "Prediction process 1 does not look for messages")]
    finally:
        os.kill(process, signal.SIGCONT)
    loading.wait_ready(timeout=5)


def test_a_process_that_is_frozen_while_it_computes_is_noticed_and_so_is_its_end(loading: Service) -> None:
    loading.start("denzel")
    loading.wait_ready()
    [process] = loading.predictors()
    task_id = loading.submit({"predict": "{'thawed': wait_for('thawed')}"})
    eventually(lambda: loading.events("process"), "the task runs")
    os.kill(process, signal.SIGSTOP)
    frozen = worker("UNAVAILABLE", "Prediction process 1 has been stopped from outside (SIGSTOP)")
    assert wait_for(loading, "UNAVAILABLE", timeout=5)["workers"] == [frozen]
    assert loading.get("/ready").status_code == 503
    os.kill(process, signal.SIGCONT)
    loading.wait_ready(timeout=5)
    os.kill(process, signal.SIGSTOP)
    assert wait_for(loading, "UNAVAILABLE", timeout=5)["workers"] == [frozen]
    os.kill(process, signal.SIGKILL)
    eventually(lambda: ready(loading)["workers"] != [frozen], "its end is noticed", timeout=5)
    (loading.project / "thawed").touch()
    assert loading.wait(task_id)["result"] == {"thawed": True}
    loading.wait_ready()
    assert process not in loading.predictors()


def test_a_second_node_gets_a_name_of_its_own(loading: Service, new_project: Callable[..., Path]) -> None:
    loading.start("denzel")
    loading.wait_ready()
    with Service(new_project()) as other:
        other.environment = {**other.environment, "REDIS_URL": loading.redis_url}
        other.start("denzel")
        names = eventually(lambda: len(ready(loading)["workers"]) == 2 and ready(loading)["workers"], "both are up")
        assert [node["name"] for node in names] == ["worker@tested", "worker-2@tested"]
    assert [node["name"] for node in ready(loading)["workers"]] == ["worker@tested"]


# ---- Who runs what ---------------------------------------------------------------------------------------------------


def test_each_stage_runs_where_it_belongs(service: Service) -> None:
    for _ in range(10):
        service.predict({"a": 1})
    supervisor, api = str(service.pid("denzel")), str(service.pid("api"))
    predictors = {str(process) for process in service.predictors()}
    assert len(predictors) == 2
    loads = service.events("load_model")
    assert sorted(pid for _, pid, _, _ in loads) == sorted(predictors)
    assert {parent for _, _, parent, _ in loads} == {supervisor}
    assert {parent for _, _, parent, _ in service.events("verify_input")} == {api}
    assert {pid for _, pid, _, _ in service.events("process")} <= predictors
    imports = service.events("import")
    assert sorted(parent for _, _, parent, _ in imports) == sorted([supervisor, supervisor, api, api])


def test_the_monitor_knows_the_workers_and_imports_no_pipeline(service: Service) -> None:
    import requests

    url = f"http://127.0.0.1:{service.ports['monitor']}/api/workers?refresh=1"
    assert requests.get(url, timeout=10).status_code == 401
    login = ("admin", service.environment["MONITOR_PASSWORD"])
    workers = eventually(
        lambda: len(found := requests.get(url, auth=login, timeout=10).json()) == 2 and found, "both are known"
    )
    assert set(workers) == {"worker@tested", "worker.2@tested"}
    monitor = str(service.pid("monitor"))
    assert monitor not in {pid for _, pid, _, _ in service.events("import")}


def test_no_log_holds_a_password(service: Service) -> None:
    for name in ("redis", "api", "denzel", "monitor"):
        assert service.log(name)
        for secret in ("REDIS_PASSWORD", "MONITOR_PASSWORD"):
            assert service.environment[secret] not in service.log(name)
