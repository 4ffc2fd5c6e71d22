"""Tasks that kill or hang every process they run in: given up, listed, run again on demand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from denzel.queue import given_up, nodes
from tests.service.support.tasks import TERMS, Tasks, failure, success
from tests.support.waiting import eventually


def test_a_task_that_kills_its_processes_is_given_up(tasks: Tasks, heard: Any) -> None:
    tasks.submit("a")
    for deaths in (1, 2, 3):
        eventually(lambda: tasks.beat() and tasks.work("token"), "it is claimed")
        tasks.release("token")
        assert tasks.record("a")["deaths"] == str(deaths)
        assert tasks.redis.zcard("denzel/tested:delayed") == (deaths == 2)
    record = tasks.record("a")
    reason = "the process that ran this task died, 3 times"
    assert record["status"] == "FAILURE"
    assert json.loads(record["result"]) == {"args": [reason], "type": "WorkerLostError"}
    assert heard() == [("channel", f'a FAILURE "{reason}"')]
    assert record["request"] == '{"id":"a"}'
    assert tasks.expiry("a") > 60
    [(task_id, status, request)] = given_up.dead(tasks.redis)
    assert (task_id, status["status"], request) == ("a", "FAILURE", '{"id":"a"}')


def test_a_task_that_was_given_up_can_be_run_again(tasks: Tasks) -> None:
    tasks.submit("a", mode="async", uri="http://x/")
    tasks.work("token")
    tasks.call(nodes.time_out, TERMS, "token", "a", 30)
    assert json.loads(tasks.record("a")["result"]) == {"args": ["timed out after 30 s"], "type": "TimeLimitExceeded"}
    assert given_up.replay(tasks.redis, "a") is True
    assert tasks.expiry("a") == -1
    assert given_up.dead(tasks.redis) == []
    assert given_up.replay(tasks.redis, "a") is False
    assert tasks.work("next") == ["a"]
    tasks.work("next", success("a"))
    assert tasks.record("a")["status"] == "SUCCESS"
    assert tasks.redis.zrange("denzel/tested:callbacks", 0, -1) == [b"a"]


@pytest.mark.parametrize("task_id", ["nobody", "done", "waits"])
def test_only_what_was_given_up_is_run_again(tasks: Tasks, task_id: str) -> None:
    tasks.submit("done")
    tasks.work("token")
    tasks.work("token", failure("done"))
    tasks.submit("waits")
    assert given_up.replay(tasks.redis, task_id) is False
    assert tasks.waiting == ["waits"]
