"""Server-Timing: whichever way a request goes, its answer and its status tell where the time went."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable

import pytest
import requests

from tests.support.http import ASYNC
from tests.support.services import Service
from tests.support.waiting import eventually

SLEEPS = {
    "process": "(time.sleep(0.03), {'predict': request['predict']})[1]",
    "predict": "(time.sleep(0.06), {'a': 1})[1]",
}
FAILS = {"predict": "(time.sleep(0.06), throw(ValueError('no')))"}


def timing(response: requests.Response) -> dict[str, str]:
    """What the header says, by name."""
    found = {}
    for part in response.headers["Server-Timing"].split(", "):
        match = re.fullmatch(r'([a-z]+);(?:dur=(\d+\.\d{3})|desc="([^"]+)")', part)
        assert match, part
        found[match[1]] = match[2] or match[3]
    return found


@pytest.fixture(scope="module", params=["on", "off"])
def ways(request: pytest.FixtureRequest, new_service: Callable[..., Service]) -> Service:
    service = new_service(DIRECT=request.param, SYNC_TIMEOUT=5)
    (service.project / "app/assets").mkdir(exist_ok=True)
    (service.project / "app/assets/card.json").write_text('{"version": "v1.2"}')
    service.start("redis", "api", "denzel")
    service.wait_ready()
    return service


def test_an_answer_tells_where_its_time_went(ways: Service) -> None:
    began = time.monotonic()
    found = timing(ways.predict(SLEEPS))
    passed = 1e3 * (time.monotonic() - began)
    assert list(found) == ["verify", "queue", "process", "predict", "batch", "model"]
    assert float(found["process"]) >= 30
    assert float(found["predict"]) >= 60
    assert sum(float(found[stage]) for stage in ("verify", "queue", "process", "predict")) < passed
    assert (found["batch"], found["model"]) == ("1", "v1.2")


def test_the_quick_way_tells_the_same(ways: Service) -> None:
    def quick() -> bool:
        found = ways.predict({"number": 1})
        assert list(timing(found)) == ["verify", "queue", "process", "predict", "batch", "model"]
        names = [name.lower() for name in found.headers]
        return names.index("denzel-task-id") < names.index("server-timing") < names.index("content-length")

    if ways.environment["DIRECT"] == "on":
        eventually(quick, "a plain request goes the quick way")
    assert timing(ways.predict({"number": 1}, headers={"TE": "trailers"})).keys() == timing(ways.predict({})).keys()


def test_a_failure_tells_it_too(ways: Service) -> None:
    response = ways.predict(FAILS)
    assert response.status_code == 500
    assert float(timing(response)["predict"]) >= 60


def test_what_did_not_run_tells_what_is_known(ways: Service) -> None:
    assert list(timing(ways.predict({"verify_input": "throw(ValueError('no'))"}))) == ["verify"]
    assert list(timing(ways.predict({}, prefer=ASYNC))) == ["verify"]
    late = ways.predict({"predict": "(time.sleep(0.5), {})[1]"}, prefer="wait=0.1")
    assert (late.status_code, list(timing(late))) == (202, ["verify"])
    assert "Server-Timing" not in ways.predict(b"{").headers
    assert "Server-Timing" not in ways.get("/ping").headers


@pytest.mark.parametrize("prefer", [None, ASYNC, "wait=0.02"])
def test_a_status_tells_it_when_the_task_has_ended(ways: Service, prefer: str | None) -> None:
    task_id = ways.predict(SLEEPS, prefer=prefer).headers["Denzel-Task-Id"]
    body = ways.wait(task_id)
    assert body["timings"]["process"] >= 0.03
    assert body["timings"]["predict"] >= 0.06
    assert 0 <= body["timings"]["queue"] < 5
    assert 0 <= body["timings"]["verify"] < 1
    found = timing(ways.get(f"/status/{task_id}"))
    assert list(found) == ["verify", "queue", "process", "predict", "batch", "model"]


def test_a_request_that_is_sent_again_tells_of_the_first_time(ways: Service) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    ways.predict(SLEEPS, headers=key)
    again = timing(ways.predict(SLEEPS, headers=key))
    assert float(again["process"]) >= 30


def test_inline_too(new_service: Callable[..., Service]) -> None:
    service = new_service(EXECUTOR="inline", SYNC_TIMEOUT=5)
    service.start("api")
    eventually(lambda: service.get("/ready").status_code == 200, "the model is loaded")
    found = timing(service.predict(SLEEPS))
    assert float(found["process"]) >= 30
    assert float(found["predict"]) >= 60
    assert found["batch"] == "1"
    body = service.wait(service.submit(SLEEPS))
    assert body["timings"]["predict"] >= 0.06
