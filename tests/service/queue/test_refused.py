"""What is kept of requests that were refused, or may be: for how long, and when it goes."""

from __future__ import annotations

import time

from denzel.executor import IDEMPOTENCY_EXPIRES, Task, mark_of
from denzel.queue import keys, store
from tests.service.support.tasks import TERMS, Tasks

NAME = keys.IDEMPOTENCY + mark_of("key")


def submit(tasks: Tasks, task_id: str, most: int = 1000) -> store.Submitted:
    task = Task(task_id, b"{}", "async", None, kept=True, mark=mark_of("key"))
    return tasks.call(store.submit, TERMS, [task], most, 5.0)


def test_an_idempotency_key_stays_once_its_task_is_accepted(tasks: Tasks) -> None:
    assert tasks.call(store.reserve, "key", "digest", "a") == ("a", "digest")
    assert 0 < tasks.redis.ttl(NAME) <= keys.UNACCEPTED
    submit(tasks, "a")
    assert tasks.redis.ttl(NAME) > IDEMPOTENCY_EXPIRES - 60
    assert tasks.call(store.reserve, "key", "digest", "b") == ("a", "digest")
    tasks.call(store.release, "key", "a")
    assert tasks.redis.exists(NAME), "there is a record"


def test_that_of_a_refused_one_does_not(tasks: Tasks) -> None:
    tasks.submit("waits")
    tasks.call(store.reserve, "key", "digest", "a")
    assert set(submit(tasks, "a", most=1).refused) == {"a"}
    assert 0 < tasks.redis.ttl(NAME) <= keys.UNACCEPTED
    tasks.call(store.release, "key", "a")
    assert not tasks.redis.exists(NAME)


def test_a_key_whose_minute_is_over_can_be_bound_for_an_accepted_task(tasks: Tasks) -> None:
    submit(tasks, "a")
    assert not tasks.redis.exists(NAME)
    tasks.call(store.reserve, "key", "digest", "a", accepted=True)
    assert tasks.redis.ttl(NAME) > IDEMPOTENCY_EXPIRES - 60


def test_a_heartbeat_forgets_who_did_not_come_again(tasks: Tasks) -> None:
    late = time.time() - 10
    tasks.redis.zadd(keys.RETURNING, {f"task{number}": late for number in range(2500)} | {"soon": time.time() + 30})
    tasks.beat()
    assert tasks.redis.zrange(keys.RETURNING, 0, -1) == [b"soon"]
    assert tasks.redis.hget(keys.RETURNED, "stayed away") == b"2500"
    assert tasks.redis.ttl(keys.RETURNED) > 0
