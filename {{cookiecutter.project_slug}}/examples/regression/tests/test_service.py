"""The running service: `make test` asks a single process, `make e2e` the project's containers, by the same tests.

The fixtures come from pytest-denzel. `denzel_service.predict(request)` returns the answer; `predict_async(request)`
returns a task id.
"""

import json
from pathlib import Path

import pytest

from pytest_denzel import ServiceError

REQUEST = {"data": {"a123": {"x1": 1, "x2": 2}}}
CARD = json.loads(Path("app/assets/card.json").read_text(encoding="utf-8"))


def test_a_request_is_answered(denzel_service):
    assert denzel_service.predict(REQUEST) == pytest.approx({"a123": 5}, abs=0.2)


def test_a_task_is_answered(denzel_service):
    status = denzel_service.wait(denzel_service.predict_async(REQUEST))
    assert status["result"] == pytest.approx({"a123": 5}, abs=0.2)


def test_a_bad_request_is_refused_with_the_reason(denzel_service):
    with pytest.raises(ServiceError) as refusal:
        denzel_service.predict({"data": {}})
    assert refusal.value.status == 400
    assert "at least one point" in refusal.value.description


def test_the_version_of_the_model_is_told(denzel_service):
    assert denzel_service.ready()["model_version"] == CARD["version"]
    assert denzel_service.wait(denzel_service.predict_async(REQUEST))["model"] == CARD["version"]


def test_clients_are_told_how_to_ask(denzel_service):
    assert "x1" in denzel_service.info()
