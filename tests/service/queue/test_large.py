"""Large requests lie beside their tasks' records: handed over by name, kept while they are needed, and no longer."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from denzel.executor import Task
from denzel.queue import claims, given_up, keys, large, nodes, store
from denzel.queue.worker_connection import WorkerConnection
from denzel.record import FINAL
from tests.service.support.tasks import TERMS, Tasks, failure, new_claimant, success, take

REQUEST = b'{"a":"' + b"x" * keys.LARGE + b'"}'


class LargeTasks(Tasks):
    """The same steps with large requests; all workers know of them."""

    def put(self, *ids: str) -> None:
        for task_id in ids:
            self.call(large.put, task_id, REQUEST)

    def submit_put(self, *ids: str, mode: str = "sync", uri: str | None = None, most: int = 1000) -> store.Submitted:
        tasks = [Task(task_id, b"", mode, uri, reply_to="channel") for task_id in ids]
        return self.call(store.submit, TERMS, tasks, most, 5.0)

    def submit_large(self, *ids: str, **options: Any) -> store.Submitted:
        self.put(*ids)
        return self.submit_put(*ids, **options)

    def claim(self, token: str, *ended: Any, most: int = 1) -> list[tuple[str, bytes]]:
        claimed, _ = claims.work(self.redis, TERMS, new_claimant(token, most), ended, most)
        return large.complete(self.redis, claimed)[0]

    def let_look(self) -> None:
        """The next heartbeat looks at every request."""
        for task_id in self.redis.zrange(keys.BESIDE, 0, -1):
            self.redis.zadd(keys.BESIDE, {task_id: 0})
        self.beat()

    @property
    def requests(self) -> dict[str, int]:
        """The large requests that are there: task id, and seconds until it expires (-1: never)."""
        names = [name.decode() for name in self.redis.keys(keys.REQUEST + "*")]
        return {name.removeprefix(keys.REQUEST): self.redis.ttl(name) for name in names}


@pytest.fixture
def tasks(tasks: Tasks) -> LargeTasks:
    tasks = LargeTasks(tasks.redis, tasks._url)
    tasks.beat()
    return tasks


def test_a_large_request_is_claimed_by_name_and_ends_with_its_task(tasks: LargeTasks) -> None:
    tasks.put("a")
    assert 0 < tasks.requests["a"] <= keys.UNRECORDED
    tasks.submit_put("a")
    record = tasks.record("a")
    assert (record["status"], record["request"], record["beside"]) == ("PENDING", "", "1")
    assert tasks.requests == {"a": -1}
    assert tasks.claim("one") == [("a", REQUEST)]
    tasks.claim("one", success("a"))
    assert tasks.requests == {}
    assert tasks.redis.zcard(keys.BESIDE) == 0
    assert "beside" not in tasks.record("a")


def test_an_idle_process_is_handed_the_name_only(tasks: LargeTasks, worker: WorkerConnection) -> None:
    tasks.redis.set("denzel/tested:alive:one", 1)
    claimant = new_claimant("one", most=2)
    assert claims.work(worker, TERMS, claimant, [], stay=True) == ([], 0)
    tasks.put("a")
    pair = [Task("a", b"", "sync", None), Task("b", b"{}", "sync", None)]
    tasks.call(store.submit, TERMS, pair, 1000, 5.0)
    assert tasks.redis.lrange("denzel/tested:hand:one", 0, -1) == [b"0\na - \nb - {}"]
    handed, _ = take(worker, claimant) or ([], 0)
    assert large.complete(worker, handed) == ([("a", REQUEST), ("b", b"{}")], [])
    tasks.release("one")
    assert dict(tasks.claim("two") + tasks.claim("three")) == {"a": REQUEST, "b": b"{}"}


def test_a_request_that_is_gone_is_told_apart(tasks: LargeTasks) -> None:
    tasks.submit_large("a", "b")
    tasks.redis.delete(keys.REQUEST + "a")
    claimed, _ = claims.work(tasks.redis, TERMS, new_claimant("one", 2), [], 2)
    assert large.complete(tasks.redis, claimed) == ([("b", REQUEST)], ["a"])


def test_a_task_whose_request_is_gone_is_not_accepted(tasks: LargeTasks) -> None:
    submitted = tasks.submit_put("a")
    assert submitted.refused == {"a": (None, 0)}
    assert tasks.record("a") == {}


def test_where_there_is_no_room_nothing_is_left(tasks: LargeTasks) -> None:
    tasks.submit("a")
    assert set(tasks.submit_large("b", most=1).refused) == {"b"}
    assert tasks.requests == {}


def test_a_request_that_was_not_accepted_is_dropped(tasks: LargeTasks) -> None:
    tasks.put("gone", "there")
    tasks.submit_put("there")
    tasks.call(large.drop, ["gone", "there", "unknown"])
    assert tasks.requests == {"there": -1}


def test_doing_it_again_changes_nothing(tasks: LargeTasks) -> None:
    for _ in range(2):
        tasks.submit_large("a")
    assert tasks.requests == {"a": -1}
    assert tasks.waiting == ["a"]
    assert tasks.claim("one") == [("a", REQUEST)]
    tasks.claim("one", success("a"))
    tasks.submit_large("a")  # late
    assert 0 < tasks.requests["a"] <= keys.UNRECORDED
    assert tasks.record("a")["status"] == "SUCCESS"


def test_what_was_given_up_keeps_its_request_as_long_as_its_record(tasks: LargeTasks) -> None:
    tasks.submit_large("a", "b", mode="async", uri="http://x/")
    for task_id in ("a", "b"):
        tasks.claim(task_id)
        tasks.call(nodes.time_out, TERMS, task_id, task_id, 30)
    tasks.let_look()
    assert tasks.requests == {"a": -1, "b": -1}
    assert {task_id: request for task_id, _, request in given_up.dead(tasks.redis)} == dict.fromkeys(
        "ab", REQUEST.decode()
    )
    assert given_up.replay(tasks.redis, "a") is True
    assert tasks.claim("next") == [("a", REQUEST)]
    tasks.claim("next", success("a"))
    tasks.redis.delete(keys.TASK + "b")  # as when it expires
    tasks.let_look()
    assert tasks.requests == {}
    assert given_up.replay(tasks.redis, "b") is False
    assert given_up.dead(tasks.redis) == []


def test_a_dead_letter_without_its_request_cannot_be_run_again(tasks: LargeTasks) -> None:
    tasks.submit_large("a")
    tasks.claim("one")
    tasks.call(nodes.time_out, TERMS, "one", "a", 30)
    tasks.redis.delete(keys.REQUEST + "a")
    assert given_up.dead(tasks.redis) == []
    assert given_up.replay(tasks.redis, "a") is False


@pytest.mark.parametrize("age", [0, 30])
def test_beside_a_worker_from_before_records_hold_the_requests(tasks: LargeTasks, age: int) -> None:
    heartbeat = json.dumps({"state": "UP", "up": 1})
    tasks.redis.hset(keys.NODES, "worker@before", f"{int(time.time()) - age} {heartbeat}")
    tasks.beat()
    tasks.submit_large("a")
    assert tasks.record("a")["request"] == REQUEST.decode()
    assert tasks.requests == {}
    assert tasks.claim("one") == [("a", REQUEST)]
    tasks.claim("one", success("a"))
    assert tasks.record("a")["request"] == ""
    tasks.redis.hset(keys.NODES, "worker@before", f"{int(time.time()) - 90} {heartbeat}")
    tasks.beat()
    tasks.submit_large("b")
    assert tasks.requests == {"b": -1}


def test_a_task_that_an_api_from_before_has_ended_leaves_no_request(tasks: LargeTasks) -> None:
    tasks.submit_large("a")
    tasks.redis.hset(keys.TASK + "a", mapping={"status": "REVOKED", "request": ""})
    tasks.let_look()
    assert tasks.requests == {}


def test_a_direct_task_that_becomes_known_has_its_request_beside_it(tasks: LargeTasks) -> None:
    class Link:
        node, token = "worker@tested", "one"

    class Given:
        id, request, link, accepted, origin, verify = "a", REQUEST, Link(), time.time(), "", None

    for _ in range(2):
        tasks.call(store.promote, TERMS, Given(), "channel", True)
    assert tasks.record("a")["request"] == ""
    assert tasks.requests == {"a": -1}
    tasks.release("one")
    assert tasks.claim("two") == [("a", REQUEST)]


def test_full_memory_refuses_a_large_request_at_once(tasks: LargeTasks) -> None:
    tasks.redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(Exception, match="used memory"):
            tasks.put("a")
    finally:
        tasks.redis.config_set("maxmemory", 0)
    tasks.put("a")
    tasks.redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(Exception, match="used memory"):
            tasks.submit_put("a")
        tasks.call(large.drop, ["a"])
    finally:
        tasks.redis.config_set("maxmemory", 0)
    assert tasks.requests == {}


class Journeys:
    """Tasks, half of them large, to which the things of a task's life happen at random."""

    def __init__(self, tasks: LargeTasks, seed: int) -> None:
        self.tasks, self.chance = tasks, random.Random(seed)
        self.ids: list[str] = []
        self.held: dict[str, list[str]] = {}

    def step(self) -> None:
        steps: list[Callable[[], None]] = [
            self.submit, self.submit, self.submit, self.claim, self.claim, self.claim, self.end, self.end, self.die,
            self.time_out, self.cancel, self.withdraw, self.detach, self.expire, self.replay, self.put, self.beat,
        ]  # fmt: skip
        self.chance.choice(steps)()

    def any_id(self) -> str:
        return self.chance.choice(self.ids or ["nobody"])

    def any_token(self) -> str:
        return self.chance.choice(["one", "two", "three"])

    def put(self) -> None:
        self.tasks.put(self.chance.choice([self.any_id(), f"put{len(self.ids)}"]))

    def submit(self) -> None:
        ids = [f"task{len(self.ids) + number}" for number in range(self.chance.randrange(1, 4))]
        mode, uri = self.chance.choice([("sync", None), ("async", None), ("async", "http://x/")])
        if self.chance.random() < 0.3:
            self.tasks.submit(*ids, mode=mode, uri=uri)
        else:
            self.tasks.submit_large(*ids, mode=mode, uri=uri, most=self.chance.choice([1, 1000]))
        self.ids += ids

    def claim(self) -> None:
        token = self.any_token()
        self.held[token] = [task_id for task_id, _ in self.tasks.claim(token, most=self.chance.randrange(1, 4))]

    def end(self) -> None:
        token = self.any_token()
        ended = [self.chance.choice([success, failure])(task_id) for task_id in self.held.pop(token, [])]
        self.tasks.claim(token, *ended, most=0)

    def die(self) -> None:
        token = self.any_token()
        self.held.pop(token, None)
        self.tasks.release(token)

    def time_out(self) -> None:
        self.tasks.call(nodes.time_out, TERMS, self.any_token(), self.any_id(), 30)

    def cancel(self) -> None:
        self.tasks.cancel(self.any_id())

    def withdraw(self) -> None:
        self.tasks.call(store.withdraw, TERMS, [self.any_id()])

    def detach(self) -> None:
        self.tasks.detach(self.any_id())

    def expire(self) -> None:
        task_id = self.any_id()
        if self.tasks.expiry(task_id) >= 0:
            self.tasks.redis.delete(keys.TASK + task_id)

    def replay(self) -> None:
        given_up.replay(self.tasks.redis, self.any_id())

    def beat(self) -> None:
        self.tasks.beat(*self.held)

    def check(self) -> None:
        """No task that may run lacks its request; no request would stay if nothing more happened; bytes are counted."""
        assert self.tasks.counted_bytes == self.tasks.waiting_bytes
        looked_at = {task_id.decode() for task_id in self.tasks.redis.zrange(keys.BESIDE, 0, -1)}
        requests = self.tasks.requests
        for task_id in self.ids:
            record = self.tasks.record(task_id)
            if record.get("beside") and record["status"] not in FINAL:
                assert requests[task_id] == -1
        assert {task_id for task_id, left in requests.items() if left < 0} <= looked_at


@pytest.mark.parametrize("seed", range(8))
def test_no_request_is_left_without_its_record(tasks: LargeTasks, seed: int) -> None:
    journeys = Journeys(tasks, seed)
    for _ in range(60):
        journeys.step()
        journeys.check()
    tasks.let_look()
    for task_id, left in tasks.requests.items():
        if left < 0:
            record = tasks.record(task_id)
            assert record["status"] not in FINAL or tasks.redis.zscore(keys.DEAD, task_id)
    for task_id in journeys.ids:  # all are ended, and have expired
        tasks.cancel(task_id)
        tasks.redis.delete(keys.TASK + task_id)
    tasks.let_look()
    assert all(0 < left <= keys.UNRECORDED for left in tasks.requests.values())
    assert tasks.redis.zcard(keys.BESIDE) == 0
