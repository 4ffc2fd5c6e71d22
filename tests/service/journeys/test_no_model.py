"""While no worker has a model, since load_model raises: what clients are told."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.support.services import Service
from tests.support.waiting import eventually

WHY = "load_model raised ValueError: the model is corrupt (app/logic/pipeline.py, line 23)"


@pytest.fixture(scope="module", params=["queue", "inline"])
def broken(request: pytest.FixtureRequest, new_service: Callable[..., Service]) -> tuple[Service, str]:
    """A service whose model does not load, and why, as clients are told."""
    inline = request.param == "inline"
    service = new_service(EXECUTOR=request.param)
    (service.project / "model").write_text("throw(ValueError('the model is corrupt'))")
    service.start("redis", "api")
    if not inline:
        service.start("denzel")
    eventually(lambda: "corrupt" in (service.ready()["reason"] or ""), "the model does not load")
    return service, WHY if inline else f"worker@tested: {WHY}"


def test_a_client_that_would_wait_is_answered_at_once_with_the_reason(broken: tuple[Service, str]) -> None:
    service, why = broken
    eventually(lambda: service.predict({"a": 1}).status_code == 503, "it is refused")
    response = service.predict({"a": 1})
    assert response.json() == {"title": "Service unavailable", "description": f"{why}."}
    assert int(response.headers["Retry-After"]) >= 1
    began = time.monotonic()
    assert service.predict({"a": 1}, prefer="wait=10").status_code == 503
    assert time.monotonic() - began < 2


def test_a_task_that_was_accepted_says_what_it_waits_for_and_is_run_when_the_model_loads(
    broken: tuple[Service, str],
) -> None:
    service, why = broken
    task_id = service.submit({"predict": "model"})
    assert service.status(task_id) == {
        "status": "PENDING", "result": None, "accepted": pytest.approx(time.time(), abs=30), "waiting_for": why,
    }  # fmt: skip
    (service.project / "model").write_text("{'corrected': 1}")
    assert service.wait(task_id, timeout=30)["result"] == {"corrected": 1}
    assert "waiting_for" not in service.status(task_id)
    response = eventually(lambda: (one := service.predict({"predict": "model"})).ok and one, "it serves")
    assert response.json() == {"corrected": 1}


def test_a_client_waits_while_the_model_loads(new_service: Callable[..., Service]) -> None:
    """It is not hopeless: a few seconds more, and there are predictions."""
    service = new_service()
    (service.project / "model").unlink()  # load_model waits for it
    service.start("redis", "api", "denzel")
    eventually(lambda: service.ready()["reason"] == "the model is loading", "it loads")
    response = service.predict({"predict": "{'a': 1}"}, prefer="wait=1")
    assert response.status_code == 202
    (service.project / "model").touch()
    assert service.wait(response.headers["Denzel-Task-Id"])["result"] == {"a": 1}
