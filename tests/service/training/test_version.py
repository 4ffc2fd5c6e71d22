"""Each answer names the version of the model that has given it, on every way through the service."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import uuid
from pathlib import Path

import pytest

from tests.service.training.test_train import card, train
from tests.support.services import Service
from tests.support.waiting import eventually

REQUEST = {"data": {"a": {"x1": 1, "x2": 2}}}
HEADER = "Denzel-Model"


@pytest.mark.parametrize(
    "settings", [{"DIRECT": "off"}, {"DIRECT": "on"}, {"EXECUTOR": "inline"}], ids=["queue", "direct", "inline"]
)
def test_each_answer_names_the_version(project: Path, settings: dict[str, str]) -> None:
    version = card(project)["version"]
    with Service(project, **settings, DIRECT_FOLDER=project / ".direct") as service:
        service.start(*(["api"] if "EXECUTOR" in settings else ["redis", "api", "denzel"]))
        eventually(lambda: service.get("/ready").status_code == 200, "it is ready", 30)
        assert service.ready()["model_version"] == version
        for _ in range(20):
            answer = service.predict(REQUEST)
            assert (answer.status_code, answer.headers[HEADER]) == (200, version)
        failed = service.predict({"data": {"a": {"x1": 1e200, "x2": 2}}})
        assert (failed.status_code, failed.headers[HEADER]) == (500, version)
        refused = service.predict({"data": {}})
        assert (refused.status_code, HEADER in refused.headers) == (400, False)

        accepted = service.predict(REQUEST, prefer="respond-async")
        assert HEADER not in accepted.headers, "no model has answered yet"
        status = service.wait(accepted.json()["data"]["task_id"])
        assert status["model"] == version
        polled = service.get(f"/status/{accepted.json()['data']['task_id']}")
        assert polled.headers[HEADER] == version

        key = {"Idempotency-Key": str(uuid.uuid4())}
        both = [service.predict(REQUEST, headers=key) for _ in range(2)]
        assert [answer.headers[HEADER] for answer in both] == [version] * 2


@pytest.mark.parametrize("content", [None, "{", '{"version": "a b"}', '{"version": 3}', "[]"])
def test_without_a_usable_card_there_is_no_version(regression: Service, content: str | None) -> None:
    path = regression.project / "app/assets/card.json"
    (regression.project / "app/logic/pipeline.py").write_text(
        "def verify_input(data): return data\ndef load_model(): pass\n"
        "def process(model, data): return data\ndef predict(model, data): return {}\n"
    )
    path.unlink() if content is None else path.write_text(content)
    regression.start("redis", "api", "denzel")
    regression.wait_ready()
    assert HEADER not in regression.predict(REQUEST).headers
    assert "model_version" not in regression.ready()
    assert "model" not in regression.wait(regression.submit(REQUEST))


def test_a_new_model_takes_over_and_no_request_is_lost(regression: Service) -> None:
    """Clients ask on while a model is trained and taken up: each gets an answer, with the version of its model."""
    project, old = regression.project, card(regression.project)["version"]
    regression.environment["WORKER_CONCURRENCY"] = "2"
    regression.start("redis", "api", "denzel")
    regression.wait_ready(processes=2)
    seen: list[tuple[int, str, float]] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answer = regression.predict(REQUEST)
            seen.append((answer.status_code, answer.headers.get(HEADER, ""), answer.json().get("a", 0)))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        assert train(project, DEGREE="3").returncode == 0
        new = card(project)["version"]
        time.sleep(0.5)
        assert {version for _, version, _ in seen} == {old}, "what was trained serves only when it is taken up"
        for name in ("denzel", "api"):  # as make restart does
            os.kill(regression.pid(name), signal.SIGHUP)
        eventually(lambda: regression.ready().get("model_version") == new, "the new model serves alone", 60)
        count = len(seen)
        eventually(lambda: len(seen) > count + 40, "clients go on")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert {status for status, _, _ in seen} == {200}
    versions = [version for _, version, _ in seen]
    assert set(versions) == {old, new}
    assert set(versions[-20:]) == {new}
    by_version = {version: {answer for _, found, answer in seen if found == version} for version in (old, new)}
    assert all(len(answers) == 1 for answers in by_version.values()), "the header names the model that has answered"
    assert by_version[old] != by_version[new]
    print(json.dumps({"requests": len(seen), "old": versions.count(old), "new": versions.count(new)}))
