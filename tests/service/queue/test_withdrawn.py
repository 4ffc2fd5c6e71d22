"""What nobody waits for any longer, and was promised to nobody, is not run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from denzel.executor import GONE
from denzel.queue import keys, store
from tests.service.queue.test_queue_executor import Queue, run  # noqa: F401 - a fixture
from tests.service.support.tasks import TERMS, Tasks


def withdraw(tasks: Tasks, *ids: str) -> None:
    tasks.call(store.withdraw, TERMS, ids)


def test_what_has_not_begun_is_revoked(tasks: Tasks) -> None:
    tasks.submit("a", "b", "c")
    withdraw(tasks, "b", "unknown")
    assert tasks.waiting == ["a", "c"]
    assert tasks.record("b")["status"] == "REVOKED"
    assert tasks.expiry("b") == 60
    assert tasks.work("token", most=9) == ["a", "c"]


def test_what_runs_was_promised_or_is_kept_stays(tasks: Tasks) -> None:
    tasks.submit("runs")
    tasks.work("token")
    tasks.submit("later", mode="async")
    tasks.submit("polled", "kept")
    tasks.detach("polled")
    tasks.redis.hset(keys.TASK + "kept", "kept", "1")
    withdraw(tasks, "runs", "later", "polled", "kept")
    assert tasks.waiting == ["later", "polled", "kept"]
    assert tasks.record("runs")["status"] == "STARTED"


def test_a_client_that_goes_ends_its_wait(run: Callable) -> None:  # noqa: F811
    async def test(queue: Queue) -> None:
        answer = await queue.begin(30)
        queue.executor.withdraw(queue.task_id)
        assert await answer is GONE
        await queue.executor._withdrawals.stop()
        assert queue.redis.llen("denzel/tested:waiting") == 0

    run(test)


def test_a_client_that_goes_before_its_task_is_stored(run: Callable) -> None:  # noqa: F811
    async def test(queue: Queue) -> None:
        for turns in range(5):
            answer = asyncio.create_task(queue.submit("sync", 30))
            for _ in range(turns + 1):
                await asyncio.sleep(0)
            queue.executor.withdraw(queue.task_id)
            assert await answer is GONE
            await asyncio.sleep(0.1)
            await queue.executor._withdrawals.stop()
            assert queue.redis.llen("denzel/tested:waiting") == 0

    run(test)


@pytest.fixture
def orphan(tasks: Tasks) -> Tasks:
    """A task whose client would still wait; its API process has not been heard of."""
    tasks.beat("token")
    tasks.redis.delete(keys.AMNESTY)
    tasks.submit("a")
    tasks.redis.hset(keys.TASK + "a", mapping={"accepted": time.time() - 10, "until": time.time() + 20})
    return tasks


def test_the_tasks_of_an_api_process_that_died_are_not_run(orphan: Tasks) -> None:
    assert orphan.work("token") == []
    assert orphan.record("a")["status"] == "REVOKED"
    assert orphan.expiry("a") == 60


def test_those_of_one_that_listens_are(orphan: Tasks) -> None:
    channel = f"{keys.REPLIES}living"
    orphan.redis.hset(keys.TASK + "a", "reply_to", channel)
    with orphan.redis.pubsub() as pubsub:
        pubsub.subscribe(channel)
        pubsub.get_message(timeout=1)
        orphan.beat("token")
    assert orphan.work("token") == ["a"], "its connection has broken only now"


@pytest.mark.parametrize(
    "fields",
    [
        {"until": 1.0},  # the wait is over: the process may have promised the answer
        {"accepted": 9e9},  # too young to tell
        {"kept": "1"},
        {"mode": "poll"},
        {"started": 1.0},
    ],
)
def test_what_may_be_promised_is_run(orphan: Tasks, fields: dict) -> None:
    orphan.redis.hset(keys.TASK + "a", mapping=fields)
    assert orphan.work("token") == ["a"]


@pytest.mark.parametrize("silent", [True, False])
def test_when_redis_was_away_all_get_the_time_to_listen_again(orphan: Tasks, silent: bool) -> None:
    if silent:
        orphan.redis.set(keys.LAST_BEAT, int(time.time()) - 10)
    else:
        orphan.redis.set(keys.AMNESTY, 1)
    assert orphan.work("token") == ["a"]
