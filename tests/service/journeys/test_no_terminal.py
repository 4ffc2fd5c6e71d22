"""User code that asks a terminal, which a service has not: it does not hang, and is told what to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.services import Service
from tests.support.waiting import eventually

BREAKPOINT = (
    "breakpoint() needs a terminal, which a service has not: "
    "take it out, or debug the function in a test (make test ARGS=--pdb)"
)
INPUT = (
    "input() needs a terminal, which a service has not: let the request or a variable in .env bring what it asks for"
)


@pytest.fixture(scope="module")
def queue(new_service: Callable[..., Service]) -> Service:
    service = new_service("programs")
    service.start("redis", "api", "denzel")
    service.wait_ready()
    return service


@pytest.fixture(scope="module")
def inline(new_service: Callable[..., Service]) -> Service:
    service = new_service("programs", EXECUTOR="inline", REDIS_URL="")
    service.start("api")
    return service


@pytest.fixture(params=["queue", "inline"])
def either(request: pytest.FixtureRequest) -> Service:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(
    ("statement", "text"),
    [("breakpoint()\nanswer = {}", BREAKPOINT), ("import pdb\npdb.set_trace()\nanswer = {}", BREAKPOINT),
     ("input('Which one? ')", INPUT)],
    ids=["breakpoint", "set_trace", "input"],
)  # fmt: skip
def test_it_is_told_in_each_stage(either: Service, statement: str, text: str) -> None:
    refused = either.predict({"verify": statement}, timeout=13)
    assert (refused.status_code, refused.json()["description"]) == (400, text)
    failed = either.predict({"predict": statement}, prefer="wait=10", timeout=13)
    assert (failed.status_code, failed.json()["description"]) == (500, text)
    record = either.wait(either.submit({"predict": statement}))
    assert record["status"] == "FAILURE"
    if text == BREAKPOINT:
        assert record["result"] == {"args": [text], "type": "BdbQuit"}
    assert either.predict({}, timeout=13).json() == {"fine": True}


def test_so_is_a_model_that_asks(new_service: Callable[..., Service]) -> None:
    service = new_service("programs")
    (service.project / "load.txt").write_text("breakpoint()")
    service.start("redis", "api")
    service.start_only("denzel")
    told = f"load_model raised BdbQuit: {BREAKPOINT} (app/logic/pipeline.py, line "
    eventually(lambda: told in service.log("denzel"), lambda: service.log("denzel"), 20)
