"""The service without a queue: the same contract with the model in the API process, and no Redis anywhere."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.receivers import Receivers
from tests.support.services import Service
from tests.support.waiting import eventually

ASYNC = "respond-async"


@pytest.fixture(scope="module")
def inline(new_service: Callable[..., Service]) -> Service:
    service = new_service(EXECUTOR="inline", REDIS_URL="", CALLBACK_ALLOW="127.0.0.1", API_WORKERS=2)
    service.start("api")
    eventually(lambda: service.get("/ready").status_code == 200, "it is ready")
    return service


def test_it_says_what_it_is_and_needs_one_process(inline: Service) -> None:
    assert "tasks do not survive a restart" in inline.log("api")
    [(_, pid, _, _)] = inline.events("load_model")
    assert {words[1] for words in inline.events("import")} == {pid}
    assert inline.ready() == {
        "ready": True,
        "reason": None,
        "workers": [{"name": "worker@tested", "state": "UP", "error": None}],
        "queue": 0,
    }


def test_sync_and_async_answers_are_the_same(inline: Service) -> None:
    body = {"predict": "{'b': np.float32(0.5), 'a': 'ü'}"}
    response = inline.predict(body)
    assert response.content == '{"b":0.5,"a":"ü"}'.encode()
    assert inline.status(response.headers["Denzel-Task-Id"])["result"] == {"b": 0.5, "a": "ü"}
    assert inline.wait(inline.submit(body))["result"] == {"b": 0.5, "a": "ü"}


@pytest.mark.parametrize(
    ("body", "status", "description"),
    [
        ({"verify_input": "throw(ValueError('bad'))"}, 400, "bad"),
        ({"verify_input": "exit(3)"}, 400, "SystemExit: 3"),
        ({"process": "undefined"}, 500, "name 'undefined' is not defined"),
        ({"predict": "exit(3)"}, 500, "SystemExit: 3"),
        ({"predict": "throw(asyncio.CancelledError())"}, 500, "CancelledError"),
        ({"predict": "throw(Unprintable())"}, 500, "Unprintable"),
        ({"predict": "[1]"}, 500, "predict must return a dictionary, not list"),
        ({"predict": "{'a': float('nan')}"}, 500, "$.a: NaN is not valid JSON; None is, and becomes null"),
        ({"callback_uri": "http://10.0.0.1/"}, 200, None),
    ],
)
def test_errors_are_told_as_behind_the_queue(inline: Service, body: dict, status: int, description: str | None) -> None:
    response = inline.predict(body)
    assert response.status_code == status
    assert response.json().get("description") == description
    if status == 500:
        record = inline.wait(inline.submit(body))
        assert record["status"] == "FAILURE"
        assert set(record["result"]) == {"args", "type"}


def test_a_wait_that_runs_out_and_a_cancelled_task(inline: Service) -> None:
    slow = inline.predict({"predict": "{'waited': wait_for('slow')}"}, prefer="wait=0.2")
    assert slow.status_code == 202
    task_id = slow.headers["Denzel-Task-Id"]
    assert inline.status(task_id)["status"] == "STARTED"
    (inline.project / "slow").touch()
    assert inline.wait(task_id)["result"] == {"waited": True}
    assert inline.request("DELETE", f"/status/{task_id}").status_code == 409

    cancelled = inline.submit({"predict": "{'waited': wait_for('cancelled')}"})
    eventually(lambda: inline.status(cancelled)["status"] == "STARTED", "it runs")
    response = inline.request("DELETE", f"/status/{cancelled}")
    assert (response.status_code, response.json()["status"]) == (202, "REVOKED")
    (inline.project / "cancelled").touch()
    assert inline.predict({"a": 1}).json() == {"answer": {"a": 1}}
    assert inline.status(cancelled)["status"] == "REVOKED"
    assert inline.get(f"/status/{uuid.uuid4()}").status_code == 404


def test_callbacks_are_sent(inline: Service, receivers: Receivers) -> None:
    receiver = receivers.open()
    task_id = inline.submit({"predict": "{'a': 1}", "callback_uri": receiver.url})
    [received] = receiver.wait()
    assert received.body == b'{"a":1}'
    assert received.task_id == task_id


@pytest.mark.parametrize(
    ("predict", "result"),
    [
        ("undefined", {"args": ["name 'undefined' is not defined"], "type": "NameError"}),
        ("(_ for _ in ()).throw(ValueError(2**70))", {"args": [2**70], "type": "ValueError"}),
    ],
)
def test_callbacks_of_failures_are_sent(inline: Service, receivers: Receivers, predict: str, result: Any) -> None:
    receiver = receivers.open()
    failed = inline.submit({"predict": predict, "callback_uri": receiver.url})
    body = json.loads(receiver.wait()[0].body)
    assert (body["status"], body["result"]) == ("FAILURE", result)
    eventually(lambda: inline.status(failed)["callback"]["state"] == "delivered", "it is delivered")


def test_the_response_setting_is_that_of_env(inline: Service) -> None:
    done = inline.run("denzel.control", "response", "async")
    assert done.returncode == 1
    assert "SYNC_TIMEOUT in .env" in done.stderr


def test_a_broken_pipeline_and_model_are_told_and_taken_up_when_corrected(new_service: Callable[..., Service]) -> None:
    service = new_service(EXECUTOR="inline", REDIS_URL="")
    pipeline, model = service.project / "app/logic/pipeline.py", service.project / "model"
    correct = pipeline.read_text()
    pipeline.write_text("x = = 1")
    model.write_text("throw(ValueError('corrupt'))")
    service.start("api")
    problem = "app/logic/pipeline.py, line 1: invalid syntax"
    assert service.get("/ready").status_code == 503
    assert service.ready()["workers"][0]["error"] == problem
    assert service.predict({"a": 1}).json() == {"title": "Error in pipeline.py", "description": problem}
    pipeline.write_text(correct)
    eventually(lambda: "load_model raised ValueError: corrupt" in service.ready()["reason"], "the model is corrupt")
    model.write_text("")
    eventually(lambda: service.get("/ready").status_code == 200, "it is ready")
    assert service.predict({"a": 1}).json() == {"answer": {"a": 1}}


def become_short(inline: Service) -> None:
    """From now on the pipeline's calls run on the event loop itself."""
    for _ in range(50):
        assert inline.predict({"predict": "{}"}).status_code == 200


def test_what_works_in_a_thread_only_is_run_there(inline: Service) -> None:
    become_short(inline)
    for _ in range(3):
        response = inline.predict({"predict": "asyncio.run(asyncio.sleep(0, {'slept': True}))"})
        assert response.json() == {"slept": True}


def test_a_short_pipeline_that_takes_long_for_once_stops_nothing(new_service: Callable[..., Service]) -> None:
    service = new_service(EXECUTOR="inline", REDIS_URL="")
    service.start("api")
    eventually(lambda: service.get("/ready").status_code == 200, "it is ready")
    become_short(service)
    task_id = service.submit({"predict": "wait_for('go') and {'waited': True}"})
    eventually(lambda: service.status(task_id)["status"] == "STARTED", "it runs")
    assert service.get("/ping").status_code == 200
    (service.project / "go").touch()
    assert service.wait(task_id)["result"] == {"waited": True}
