"""The bytes of the requests that wait: counted exactly, whatever happens to their tasks, and bounded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from denzel.executor import NotTaken, QueueFull, Task
from denzel.queue import claims, given_up, keys, large, nodes, store
from denzel.queue.room import Room
from denzel.queue.scripts import script
from denzel.queue.worker_connection import WorkerConnection
from denzel.settings import Settings
from tests.service.support.tasks import TERMS, Tasks, new_claimant, success

LARGE = b'{"a":"' + b"x" * keys.LARGE + b'"}'


def offer(tasks: Tasks, most_bytes: int, **requests: bytes) -> set[str]:
    """Submit tasks, large ones as the API does; the ids of those that are refused."""
    made = []
    for task_id, request in requests.items():
        if large.is_large(request):
            tasks.call(large.put, task_id, request)
            request = b""
        made.append(Task(task_id, request, "async", None))
    return set(tasks.call(store.submit, TERMS, made, 1000, 5.0, 1e9, most_bytes).refused)


def test_what_would_go_beyond_the_bound_is_refused(tasks: Tasks) -> None:
    assert offer(tasks, 100, a=b"x" * 60, b=b"x" * 41, c=b"x" * 40, d=b"x") == {"b", "d"}
    assert (tasks.waiting, tasks.counted_bytes) == (["a", "c"], 100)
    assert offer(tasks, 100, e=b"x") == {"e"}
    tasks.cancel("a")
    assert offer(tasks, 100, e=b"x" * 60, f=b"x") == {"f"}
    assert tasks.counted_bytes == tasks.waiting_bytes == 100


def test_a_large_request_counts_where_it_lies_beside(tasks: Tasks) -> None:
    tasks.beat()
    before = set(tasks.redis.keys("*"))
    assert offer(tasks, 2 * len(LARGE), a=LARGE, b=LARGE, c=b"{}") == {"c"}
    assert tasks.record("a")["beside"] == "1"
    assert tasks.counted_bytes == 2 * len(LARGE)
    assert offer(tasks, 2 * len(LARGE), d=LARGE) == {"d"}
    assert keys.REQUEST.encode() + b"d" not in tasks.redis.keys("*")
    for task_id in "ab":
        tasks.cancel(task_id)
        tasks.redis.delete(keys.TASK + task_id)  # as when it expires
    assert tasks.counted_bytes == 0
    assert set(tasks.redis.keys("*")) - before <= {keys.WAITING_BYTES.encode(), b"denzel"}  # the tickets' queue


def test_beside_a_worker_that_knows_of_none_large_requests_count_too(tasks: Tasks) -> None:
    assert offer(tasks, 10**6, a=LARGE) == set()
    assert "beside" not in tasks.record("a")
    assert tasks.counted_bytes == len(LARGE)


def test_where_nothing_waits_any_request_may(tasks: Tasks) -> None:
    assert offer(tasks, 10, a=b"x" * 60, b=b"x") == {"b"}
    tasks.cancel("a")
    assert offer(tasks, 10, c=b"x" * 60) == set()


def test_what_an_idle_process_gets_at_once_never_waits(tasks: Tasks, worker: WorkerConnection) -> None:
    tasks.redis.set(f"{keys.ALIVE}one", 1)
    claims.work(worker, TERMS, new_claimant("one"), [], stay=True)
    assert offer(tasks, 10, a=b"x" * 60) == set()
    assert (tasks.record("a")["status"], tasks.counted_bytes) == ("STARTED", 0)
    tasks.release("one")
    assert tasks.counted_bytes == tasks.waiting_bytes == 60


def test_sent_again_it_counts_once(tasks: Tasks) -> None:
    for _ in range(3):
        assert offer(tasks, 100, a=b"x" * 60) == set()
    assert tasks.counted_bytes == 60


@pytest.mark.parametrize(
    "end",
    [
        lambda tasks: tasks.work("one", most=9) and tasks.work("one", success("a"), success("b"), most=0),
        lambda tasks: [tasks.cancel(task_id) for task_id in "ab"],
        lambda tasks: tasks.call(store.withdraw, TERMS, ["a", "b"]),
        lambda tasks: [tasks.work("one"), tasks.release("one"), tasks.work("one", success("a"), success("b"), most=0)],
        lambda tasks: [tasks.work("one"), tasks.call(nodes.time_out, TERMS, "one", "a", 3), tasks.work("two", most=9)],
        lambda tasks: [tasks.work("one", most=9), tasks.work("one", most=0), tasks.work("two", most=9)],
    ],
    ids=["taken", "cancelled", "withdrawn", "ended-by-one-believed-dead", "timed-out", "given-back-and-taken"],
)
def test_what_no_longer_waits_is_given_back(tasks: Tasks, end: Callable[[Tasks], Any]) -> None:
    tasks.submit("a", "b")
    assert tasks.counted_bytes == 20
    end(tasks)
    assert tasks.counted_bytes == tasks.waiting_bytes == 0


def test_what_is_delayed_or_run_again_waits(tasks: Tasks) -> None:
    tasks.submit("a")
    for _ in range(2):
        tasks.beat()
        tasks.work("one")
        tasks.release("one")
        tasks.redis.zadd(keys.DELAYED, {"a": 0}, xx=True)
        assert tasks.counted_bytes == tasks.waiting_bytes == 10
    tasks.beat()
    tasks.work("one")
    tasks.release("one")  # the third death
    assert (tasks.record("a")["status"], tasks.counted_bytes) == ("FAILURE", 0)
    assert given_up.replay(tasks.redis, "a") is True
    assert tasks.counted_bytes == 10


def test_what_a_long_task_keeps_from_its_process_waits_again(tasks: Tasks, worker: WorkerConnection) -> None:
    tasks.redis.set(f"{keys.ALIVE}one", 1)
    claims.work(worker, TERMS, new_claimant("one"), [], stay=True)
    tasks.submit("a")
    tasks.promote("long", "one")
    assert (tasks.waiting, tasks.counted_bytes) == (["a"], 10)


def test_records_that_others_delete_do_not_close_the_queue_for_ever(tasks: Tasks) -> None:
    tasks.submit("a")
    tasks.redis.delete(keys.TASK + "a")
    assert tasks.work("one") == []
    assert offer(tasks, 15, b=b"x" * 10, c=b"x" * 5) == set()
    assert tasks.counted_bytes == 15


def test_full_memory_changes_nothing(tasks: Tasks) -> None:
    tasks.submit("a", "b")
    tasks.redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(Exception, match="used memory"):
            offer(tasks, 100, c=b"{}")
        assert tasks.counted_bytes == 20
        assert tasks.work("one") == ["a"]
        assert tasks.counted_bytes == 10
    finally:
        tasks.redis.config_set("maxmemory", 0)


# ---- What the API says ---------------------------------------------------------------------------------------


def room(**settings: str) -> Room:
    return Room(Settings.from_environment(settings))


def test_half_of_what_redis_may_use_is_the_default(tasks: Tasks) -> None:
    found = room()
    tasks.redis.config_set("maxmemory", 300_000_000)
    try:
        tasks.call(lambda client: found.look(client))
        assert found.most_bytes == 150_000_000
    finally:
        tasks.redis.config_set("maxmemory", 0)
    tasks.call(lambda client: found.look(client))
    assert found.most_bytes == tasks.redis.info("memory")["total_system_memory"] // 8


def test_what_the_setting_says_counts(tasks: Tasks) -> None:
    found = room(MAX_QUEUE_BYTES="5000000")
    tasks.call(lambda client: found.look(client))
    assert found.most_bytes == 5_000_000


@pytest.mark.parametrize("told", [{}, {"maxmemory": 0}, {"maxmemory": 0, "total_system_memory": 0}])
def test_a_redis_that_tells_nothing_has_a_bound_too(told: dict[str, int]) -> None:
    async def info(section: str) -> dict[str, int]:
        return told

    found = room()
    asyncio.run(found.look(SimpleNamespace(info=info)))
    assert found.most_bytes == 1_000_000_000


def test_refusals_are_told_apart() -> None:
    full = room(MAX_QUEUE="3")
    assert str(full.refusal(3, None, 1, 0)) == "3 tasks are waiting already"
    assert (
        str(full.refusal(2, None, 1, 0)) == "2 tasks are waiting already, with as many bytes as may (MAX_QUEUE_BYTES)"
    )
    assert isinstance(full.refusal(2, None, 0, 0), NotTaken)
    assert isinstance(full.refusal(2, 10.0, 4, 5.0), QueueFull)


# ---- What an earlier version left ------------------------------------------------------------------------------


def test_what_waits_from_before_is_counted(tasks: Tasks) -> None:
    for task_id, status in (("a", "PENDING"), ("b", "REVOKED"), ("c", "PENDING")):
        tasks.redis.hset(f"denzel:task:{task_id}", mapping={"status": status, "request": json.dumps([task_id])})
        tasks.redis.lpush("denzel:waiting", task_id)
    assert script("claim_project")(tasks.redis, "", "now", "here", "tested") == [b"1"]
    assert tasks.waiting == ["a", "b", "c"]
    assert tasks.counted_bytes == tasks.waiting_bytes == 10
