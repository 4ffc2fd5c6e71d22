"""The commands of a running service, `python -m denzel.control`: the live setting of the response."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.http import ASYNC, error_of
from tests.support.services import Service


@pytest.fixture
def switched(service: Service) -> Iterator[Service]:
    """A service whose response setting is put back afterwards."""
    yield service
    service.redis.delete("denzel/tested:synchronous_timeout")


def modes(service: Service, requests: int = 40) -> set[str]:
    """How each of many requests at the same time was answered, in every API process."""
    with ThreadPoolExecutor(requests) as pool:
        answers = list(
            pool.map(lambda number: service.predict({"verify_input": "{'api': os.getpid()}"}), range(requests))
        )
    processes = set()
    for answer in answers:
        record = service.wait(answer.headers["Denzel-Task-Id"])
        processes.add(record["result"]["answer"]["api"])
    assert len(processes) == 2, "all requests went to the same process"
    return {"async" if "Location" in answer.headers else "sync" for answer in answers}


def test_the_response_is_switched_live_in_every_api_process(switched: Service) -> None:
    assert modes(switched) == {"sync"}
    for arguments, sentence, mode in (
        (("async",), "Responses are asynchronous", "async"),
        (("sync",), "Responses are synchronous, with a timeout of 5 s", "sync"),
        (("async",), "Responses are asynchronous", "async"),
        (("sync", "7.5"), "Responses are synchronous, with a timeout of 7.5 s", "sync"),
    ):
        done = switched.run("denzel.control", "response", *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, sentence + "\n", "")
        assert modes(switched) == {mode}


def test_a_preference_outweighs_the_live_setting(switched: Service) -> None:
    switched.run("denzel.control", "response", "async")
    assert switched.predict({"a": 1}, prefer="wait=5").json() == {"answer": {"a": 1}}
    switched.run("denzel.control", "response", "sync", "5")
    assert "Location" in switched.predict({"a": 1}, prefer=ASYNC).headers


def test_the_live_timeout_is_how_long_a_request_waits(switched: Service) -> None:
    switched.run("denzel.control", "response", "sync", "0.3")
    began = time.monotonic()
    response = switched.predict({"predict": "{'waited': wait_for('slow')}"})
    assert 0.25 < time.monotonic() - began < 3
    assert response.status_code == 202
    (switched.project / "slow").touch()
    assert switched.wait(response.headers["Denzel-Task-Id"])["result"] == {"waited": True}


def test_a_live_timeout_beyond_what_a_client_may_ask_for_holds(waiting: Service) -> None:
    waiting.run("denzel.control", "response", "sync", "2")
    began = time.monotonic()
    assert waiting.predict({"a": 1}).status_code == 202
    assert time.monotonic() - began > 1.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sync", "0"], "Sync timeout must be greater than 0"),
        (["sync", "-1"], "Sync timeout must be greater than 0"),
        (["sync", "nan"], "Sync timeout must be greater than 0"),
        (["sync", "inf"], "Sync timeout must be greater than 0"),
        (["sync", "soon"], "Sync timeout must be greater than 0"),
        (["async", "5"], "TIMEOUT goes with MODE=sync only"),
        (["both"], "MODE must be sync or async, not 'both'"),
        ([""], "MODE must be sync or async, not ''"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line_and_changes_nothing(
    waiting: Service, arguments: list[str], message: str
) -> None:
    done = waiting.run("denzel.control", "response", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    assert waiting.redis.get("denzel/tested:synchronous_timeout") is None


@pytest.mark.parametrize("arguments", [[], ["response"], ["response", "sync", "1", "2"], ["nonsense"]])
def test_a_wrong_command_shows_the_commands(waiting: Service, arguments: list[str]) -> None:
    done = waiting.run("denzel.control", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert "denzel.control response" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_env_says_holds_until_the_first_switch(new_service: Callable[..., Service]) -> None:
    service = new_service(SYNC_TIMEOUT=0)
    service.start("redis", "api")
    response = service.predict({"a": 1})
    assert response.status_code == 200
    assert "Location" in response.headers
    assert error_of(service.predict({"callback_uri": "nonsense"}))[0] == 400
    service.run("denzel.control", "response", "sync", "0.1")
    assert service.predict({"callback_uri": "nonsense"}).status_code == 202
    service.restart("redis")
    assert service.redis.get("denzel/tested:synchronous_timeout") == b"0.1"
