"""Each step of a task's life in Redis: what it does, done again, done too late, or racing with another."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis import asyncio as redis_asyncio

from denzel.executor import Task
from denzel.queue import claims, given_up, keys, nodes, scripts, store
from denzel.queue.ticket import QueueSettings
from denzel.queue.worker_connection import WorkerConnection
from tests.support.services import Service
from tests.support.waiting import eventually

TERMS = QueueSettings(ticket_queue="denzel", ticket=b"ticket", sync_expires=60, expires=86_400)
REVOKED = [b"REVOKED", b'{"args":["cancelled"],"type":"TaskRevokedError"}', b'"The task was cancelled."']


class Tasks:
    """The store's functions on a Redis that holds nothing, as the API, the workers and the supervisor call them."""

    def __init__(self, client: redis.Redis, url: str) -> None:
        self.redis = client
        self._url = url

    def call(self, function: Any, *arguments: Any, **options: Any) -> Any:
        """One of the asynchronous functions."""

        async def run() -> Any:
            client = redis_asyncio.Redis.from_url(self._url)
            try:
                return await function(client, *arguments, **options)
            finally:
                await client.aclose()

        return asyncio.run(run())

    def submit(
        self, *ids: str, mode: str = "sync", uri: str | None = None, most: int = 1000, default: float = 5.0
    ) -> tuple[float, int]:
        tasks = [Task(task_id, b'{"id":"%s"}' % task_id.encode(), mode, uri, reply_to="channel") for task_id in ids]
        submitted = self.call(store.submit, TERMS, tasks, most, default)
        self.refused = submitted.refused
        return submitted[:2]

    def work(self, token: str, *ended: Any, most: int = 1, share: bool = False) -> list[str]:
        """Store what ended, claim more; the ids of the claimed tasks."""
        claimant = claims.Claimant(token, f"{token}@tested", most, share)
        claimed, waiting = claims.work(self.redis, TERMS, claimant, ended, most)
        assert waiting == len(self.waiting) or most < 0
        assert all(request == b'{"id":"%s"}' % task_id.encode() for task_id, request in claimed)
        return [task_id for task_id, _ in claimed]

    def beat(self, *tokens: str, up: int = 1, name: str = "worker@tested", full: bool = False) -> bool:
        return self.call(nodes.beat, TERMS, name, {"state": "UP", "up": up}, tokens, full)

    def release(self, token: str) -> bool:
        return self.call(nodes.release, TERMS, token)

    def detach(self, task_id: str) -> list[bytes] | None:
        return self.call(store.detach, TERMS, task_id)

    def cancel(self, task_id: str) -> str | None:
        return self.call(store.cancel, TERMS, task_id)

    def record(self, task_id: str) -> dict[str, str]:
        return {key.decode(): value.decode() for key, value in self.redis.hgetall(f"denzel:task:{task_id}").items()}

    def expiry(self, task_id: str) -> int:
        return self.redis.ttl(f"denzel:task:{task_id}")

    @property
    def waiting(self) -> list[str]:
        """The ids that wait, the next one first."""
        return [task_id.decode() for task_id in reversed(self.redis.lrange("denzel:waiting", 0, -1))]

    @property
    def tickets(self) -> int:
        return self.redis.llen("denzel")


@pytest.fixture
def tasks(redis_service: Service, empty_redis: redis.Redis) -> Tasks:
    return Tasks(empty_redis, redis_service.redis_url)


@pytest.fixture
def heard(tasks: Tasks) -> Iterator[Any]:
    """Call it for what was published since the last call: (channel, message)."""
    with tasks.redis.pubsub() as pubsub:
        pubsub.psubscribe("*")
        eventually(lambda: pubsub.get_message(timeout=1), "it is subscribed")

        def messages() -> list[tuple[str, str]]:
            tasks.redis.publish("end", "")
            found = []
            while (message := eventually(lambda: pubsub.get_message(timeout=1), "a message"))["channel"] != b"end":
                found.append((message["channel"].decode(), message["data"].decode()))
            return found

        yield messages


def success(task_id: str, result: bytes = b'{"a":1}') -> tuple[str, str, bytes, bytes]:
    return task_id, "SUCCESS", result, b""


def failure(task_id: str) -> tuple[str, str, bytes, bytes]:
    return task_id, "FAILURE", b'{"args":["no"],"type":"E"}', b'"no"'


# ---- submit ----------------------------------------------------------------------------------------------------------


def test_submit_stores_the_record_its_place_and_a_ticket(tasks: Tasks) -> None:
    assert tasks.submit("a", mode="async", uri="http://x/") == (5.0, 1)
    record = tasks.record("a")
    assert float(record.pop("accepted")) > 1e9
    assert record == {
        "status": "PENDING",
        "request": '{"id":"a"}',
        "mode": "async",
        "callback_uri": "http://x/",
        "reply_to": "channel",
    }
    assert tasks.expiry("a") == -1
    assert tasks.waiting == ["a"]
    assert tasks.redis.lrange("denzel", 0, -1) == [b"ticket"]


@pytest.mark.parametrize(
    ("live", "default", "asked", "kept", "answer"),
    [
        (None, 5.0, "live", "sync", 5.0),
        (None, 0.0, "live", "async", 0.0),
        ("0.0", 5.0, "live", "async", 0.0),
        ("2.5", 0.0, "live", "sync", 2.5),
        ("0.0", 5.0, "sync", "sync", 0.0),
        ("2.5", 5.0, "async", "async", 2.5),
    ],
)
def test_submit_follows_the_live_setting(
    tasks: Tasks, live: str | None, default: float, asked: str, kept: str, answer: float
) -> None:
    if live:
        tasks.redis.set("synchronous_timeout", live)
    assert tasks.submit("a", mode=asked, default=default)[0] == answer
    assert tasks.record("a")["mode"] == kept
    assert tasks.call(store.response_timeout, default) == (float(live) if live else default)


def test_submitting_an_id_again_changes_nothing_whatever_became_of_it(tasks: Tasks) -> None:
    tasks.submit("a")
    for _ in range(2):
        before = tasks.record("a")
        tasks.submit("a")
        assert tasks.record("a") == before
        assert tasks.waiting.count("a") == (1 if before["status"] == "PENDING" else 0)
        tasks.work("token")
    tasks.work("token", success("a"))
    before = tasks.record("a")
    tasks.submit("a", "b")
    assert tasks.record("a") == before
    assert tasks.waiting == ["b"]


def test_what_was_accepted_is_not_refused_when_it_is_submitted_again_to_a_full_queue(tasks: Tasks) -> None:
    assert tasks.submit("a", "b", most=2) == (5.0, 2)
    assert tasks.submit("a", "b", most=2) == (5.0, 2)
    assert tasks.submit("a", "c", "b", most=2) == (5.0, 2)
    assert tasks.refused == {"c"}
    assert tasks.waiting == ["a", "b"]


def test_of_tasks_that_come_together_as_many_are_accepted_as_there_is_room_for(tasks: Tasks) -> None:
    assert tasks.submit("a", "b", most=3) == (5.0, 2)
    assert tasks.refused == set()
    assert tasks.submit("c", "d", "e", most=3) == (5.0, 3)
    assert tasks.refused == {"d", "e"}
    assert tasks.record("d") == tasks.record("e") == {}
    assert tasks.waiting == ["a", "b", "c"]


def test_who_waits_for_a_task_that_was_submitted_by_another_who_does_not_is_told(tasks: Tasks, heard: Any) -> None:
    task = Task("a", b'{"id":"a"}', "sync", None)
    tasks.call(store.submit, TERMS, [task], 1000, 5.0)
    tasks.submit("a")
    assert tasks.work("token") == ["a"]
    tasks.work("token", success("a"), most=0)
    [(channel, line)] = heard()
    assert (channel, line.partition(" {")[0]) == ("channel", "a SUCCESS")
    tasks.submit("a")  # after its end
    assert heard() == [(channel, line)]


def test_nobody_is_told_of_an_asynchronous_task_that_is_there_already(tasks: Tasks, heard: Any) -> None:
    tasks.submit("a", mode="async")
    tasks.work("token")
    tasks.work("token", success("a"), most=0)
    tasks.submit("a")
    assert heard() == []
    assert tasks.call(store.ending, "a") is None


def test_submit_writes_no_more_tickets_than_there_are_processes(tasks: Tasks) -> None:
    tasks.submit("a", "b", "c")
    assert tasks.tickets == 1
    tasks.beat("x", "y", up=2)
    tasks.submit("d")
    assert tasks.tickets == 2
    tasks.submit("e", "f")
    assert tasks.tickets == 2


def test_submit_leaves_tickets_to_another_broker(tasks: Tasks) -> None:
    terms = QueueSettings("", b"ticket", 60, 86_400)
    task = Task("a", b"{}", "sync", None, reply_to="channel")
    assert tasks.call(store.submit, terms, [task], 1000, 5.0)[:4] == (5.0, 1, 1, False)
    assert tasks.tickets == 0
    assert tasks.call(nodes.beat, terms, "n", {"up": 1}, [], False) is True
    assert tasks.tickets == 0


# ---- work ------------------------------------------------------------------------------------------------------------


def test_claiming_starts_tasks_in_order(tasks: Tasks) -> None:
    tasks.submit("a", "b")
    tasks.submit("c")
    assert tasks.work("one", most=2) == ["a", "b"]
    assert tasks.work("two", most=2) == ["c"]
    assert tasks.work("three", most=2) == []
    record = tasks.record("a")
    assert (record["status"], record["worker"], record["attempts"]) == ("STARTED", "one@tested", "1")
    assert float(record["accepted"]) <= float(record["started"])
    assert tasks.expiry("a") == -1


def test_a_task_is_claimed_by_one_process_only(tasks: Tasks) -> None:
    ids = [f"task-{number}" for number in range(100)]
    tasks.submit(*ids)
    claimed = [task_id for turn in range(50) for task_id in tasks.work(f"process-{turn}", most=3)]
    assert claimed == ids


def test_processes_share_what_waits(tasks: Tasks) -> None:
    tasks.beat("x", "y", up=2)
    tasks.submit(*"abcdef")
    assert tasks.work("x", most=100, share=True) == ["a", "b", "c"]
    assert tasks.work("y", most=100) == ["d", "e", "f"]


def test_an_end_is_stored_answered_and_expires(tasks: Tasks, heard: Any) -> None:
    tasks.submit("a", "b", "c")
    tasks.work("token", most=3)
    tasks.work("token", success("a"), failure("b"), success("c", b'{"c":"\\n"}'), most=0)
    assert heard() == [
        ("channel", 'a SUCCESS {"a":1}\nb FAILURE "no"\nc SUCCESS {"c":"\\n"}'),
    ]
    for task_id, status, result in (("a", "SUCCESS", '{"a":1}'), ("b", "FAILURE", '{"args":["no"],"type":"E"}')):
        record = tasks.record(task_id)
        assert (record["status"], record["result"]) == (status, result)
        assert float(record["started"]) <= float(record["ended"])
        assert not record["request"]
        assert 0 < tasks.expiry(task_id) <= 60
    assert tasks.redis.keys("denzel:claim*") == []


def test_an_asynchronous_end_schedules_its_callback_once(tasks: Tasks, heard: Any) -> None:
    tasks.submit("a", mode="async", uri="http://x/")
    tasks.submit("b", mode="async")
    tasks.submit("c", mode="sync", uri="http://x/")
    tasks.work("token", most=3)
    tasks.work("token", success("a"), success("b"), success("c"), most=0)
    tasks.work("token", success("a"), most=0)
    assert tasks.redis.zrange("denzel:callbacks", 0, -1) == [b"a"]
    assert sorted(heard()) == [("channel", 'c SUCCESS {"a":1}'), ("denzel:callbacks:wake", "a")]
    assert tasks.expiry("a") == -1  # its record outlives its callback
    assert tasks.expiry("b") > 60


def test_the_first_end_counts(tasks: Tasks, heard: Any) -> None:
    tasks.submit("a")
    tasks.work("one")
    tasks.work("one", success("a"), most=0)
    before = tasks.record("a")
    tasks.work("one", failure("a"), most=0)
    tasks.work("two", success("a", b'{"other":1}'), most=0)
    assert tasks.record("a") == before
    assert heard() == [("channel", 'a SUCCESS {"a":1}')]


def test_an_end_of_an_unknown_task_is_nothing(tasks: Tasks, heard: Any) -> None:
    tasks.work("token", success("nobody"))
    assert heard() == []
    assert tasks.record("nobody") == {}


def test_nothing_that_has_ended_is_claimed(tasks: Tasks) -> None:
    tasks.submit("a", "b")
    tasks.work("one")
    tasks.work("one", success("a"), most=0)
    tasks.redis.rpush("denzel:waiting", "a", "unknown")
    assert tasks.work("two", most=3) == ["b"]
    assert tasks.waiting == []


def test_claims_in_an_answer_that_never_arrived_are_handed_out_again(tasks: Tasks) -> None:
    tasks.submit("a", "b", "c")
    assert tasks.work("token", most=2) == ["a", "b"]
    assert sorted(tasks.work("token", most=2)) == ["a", "b"]
    assert tasks.record("a")["attempts"] == "1", "what was never run does not count"
    assert tasks.record("a")["status"] == "STARTED"


def test_claims_that_are_still_to_be_run_are_kept(tasks: Tasks) -> None:
    tasks.submit("a", "b", "c")
    tasks.work("token", most=2)
    assert tasks.work("token", success("a"), most=-1) == []
    assert tasks.record("b")["status"] == "STARTED"
    assert tasks.waiting == ["c"]
    assert tasks.work("token", success("b"), most=2) == ["c"]


def test_the_last_one_of_several_tasks_is_alone_when_the_others_have_ended(tasks: Tasks, heard: Any) -> None:
    tasks.submit("a", "b")
    tasks.work("token", most=2)
    tasks.work("token", success("a"), most=-1)
    heard()
    tasks.cancel("b")
    assert ("denzel:cancelled", "token b") in heard()


def test_whoever_leaves_tasks_behind_leaves_a_ticket(tasks: Tasks) -> None:
    tasks.submit("a", "b", "c")
    tasks.redis.delete("denzel")
    tasks.work("token")
    assert tasks.tickets == 1
    tasks.redis.delete("denzel")
    tasks.work("token", success("a"), most=5)
    assert tasks.tickets == 0


# ---- Handing over ----------------------------------------------------------------------------------------------------


@pytest.fixture
def worker(redis_service: Service) -> WorkerConnection:
    return WorkerConnection(redis_service.redis_url)


def idle(
    tasks: Tasks, worker: WorkerConnection, token: str, most: int = 1, share: bool = False, quick: bool = False
) -> claims.Claimant:
    """A process that lives, has found nothing to do and stays for what is handed over."""
    tasks.redis.set(f"denzel:alive:{token}", 1)
    claimant = claims.Claimant(token, f"{token}@tested", most, share, quick)
    assert claims.work(worker, TERMS, claimant, [], stay=True) == ([], 0)
    return claimant


def handed(worker: WorkerConnection, claimant: claims.Claimant) -> list[str] | None:
    found = claims.wait_for_tasks(worker, claimant, 0.05)
    return None if found is None else [task_id for task_id, _ in found[0]]


def test_a_task_is_claimed_for_an_idle_process_as_it_is_submitted(tasks: Tasks, worker: WorkerConnection) -> None:
    claimant = idle(tasks, worker, "one")
    tasks.submit("a")
    assert tasks.waiting == []
    assert tasks.tickets == 0
    record = tasks.record("a")
    assert (record["status"], record["worker"], record["attempts"]) == ("STARTED", "one@tested", "1")
    assert claims.wait_for_tasks(worker, claimant, 5) == ([("a", b'{"id":"a"}')], 0)
    assert tasks.work("one", success("a")) == []
    assert tasks.record("a")["status"] == "SUCCESS"
    assert tasks.redis.keys("denzel:claim*") == []


def test_each_idle_process_gets_a_task_before_a_ticket_is_written(tasks: Tasks, worker: WorkerConnection) -> None:
    tasks.beat("one", "two", up=3)
    claimants = [idle(tasks, worker, token) for token in ("one", "two")]
    tasks.submit("a", "b", "c")
    assert sorted(handed(worker, claimant)[0] for claimant in claimants) == ["a", "b"]  # type: ignore[index]
    assert tasks.waiting == ["c"]
    assert tasks.tickets == 1


def test_an_idle_process_that_merges_gets_as_many_as_it_wants(tasks: Tasks, worker: WorkerConnection) -> None:
    one, two = idle(tasks, worker, "one", most=4), idle(tasks, worker, "two", most=4)
    tasks.submit(*"abcdef")
    assert handed(worker, two) == ["a", "b", "c", "d"]  # the one that was busy last
    assert handed(worker, one) == ["e", "f"]


def test_idle_processes_that_are_slow_share(tasks: Tasks, worker: WorkerConnection) -> None:
    tasks.beat("one", "two", up=2)
    one, two = (idle(tasks, worker, token, most=8, share=True) for token in ("one", "two"))
    tasks.submit(*"abcd")
    assert (handed(worker, two), handed(worker, one)) == (["a", "b"], ["c"])
    assert tasks.waiting == ["d"]


def test_nothing_is_handed_to_a_process_that_nobody_vouches_for(tasks: Tasks, worker: WorkerConnection) -> None:
    claimant = idle(tasks, worker, "gone")
    tasks.redis.delete("denzel:alive:gone")
    tasks.submit("a")
    assert tasks.waiting == ["a"]
    assert tasks.tickets == 1
    assert handed(worker, claimant) is None
    tasks.beat()
    assert tasks.redis.llen("denzel:idle") == 0, "it is forgotten"


def test_nothing_is_handed_to_a_process_that_has_died(tasks: Tasks, worker: WorkerConnection) -> None:
    idle(tasks, worker, "dead")
    tasks.release("dead")
    tasks.submit("a")
    assert tasks.waiting == ["a"]
    assert tasks.tickets == 1


def test_a_full_redis_takes_no_task_for_an_idle_process_either(tasks: Tasks, worker: WorkerConnection) -> None:
    idle(tasks, worker, "one")
    tasks.redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            tasks.submit("a")
    finally:
        tasks.redis.config_set("maxmemory", 0)
    assert tasks.record("a") == {}
    assert tasks.redis.llen("denzel:idle") == 1


def test_what_waits_already_is_handed_over_first(tasks: Tasks, worker: WorkerConnection) -> None:
    one = idle(tasks, worker, "one")
    tasks.redis.set("denzel:quick", "another")
    tasks.submit("a")
    tasks.redis.delete("denzel:quick")
    tasks.submit("b")
    assert handed(worker, one) == ["a"]
    assert tasks.waiting == ["b"]


def test_a_process_that_has_left_is_handed_nothing(tasks: Tasks, worker: WorkerConnection) -> None:
    claimant = idle(tasks, worker, "one")
    assert claims.work(worker, TERMS, claimant, [], 0) == ([], 0)
    tasks.submit("a")
    assert tasks.waiting == ["a"]
    assert tasks.redis.llen("denzel:idle") == 0


def test_a_process_that_never_heard_that_it_is_idle_can_leave(
    redis_service: Service, tasks: Tasks, worker: WorkerConnection
) -> None:
    class BreaksOff(WorkerConnection):
        def _exchange(self, *arguments: Any) -> Any:
            super()._exchange(*arguments)
            raise redis.exceptions.ConnectionError

    claimant = claims.Claimant("one", "one@tested")
    with pytest.raises(redis.exceptions.ConnectionError):
        claims.work(BreaksOff(redis_service.redis_url), TERMS, claimant, [], stay=True)
    assert tasks.redis.llen("denzel:idle") == 1
    assert claims.work(worker, TERMS, claimant, [], 0) == ([], 0)
    assert tasks.redis.llen("denzel:idle") == 0


def test_what_was_handed_to_a_process_as_it_left_waits_again(tasks: Tasks, worker: WorkerConnection) -> None:
    claimant = idle(tasks, worker, "one")
    tasks.submit("a")
    assert claims.work(worker, TERMS, claimant, [], 0) == ([], 1)
    assert tasks.waiting == ["a"]
    assert tasks.tickets == 1
    assert (tasks.record("a")["status"], tasks.record("a")["attempts"]) == ("PENDING", "0"), "it has not run"
    assert tasks.redis.keys("denzel:hand:*") == []


def test_what_was_handed_to_a_process_that_died_waits_again(tasks: Tasks, worker: WorkerConnection) -> None:
    idle(tasks, worker, "dead")
    tasks.submit("a")
    assert tasks.release("dead") is True
    assert tasks.waiting == ["a"]
    assert tasks.redis.keys("denzel:hand:*") == []


def test_a_task_that_runs_alone_is_handed_over_alone(tasks: Tasks, worker: WorkerConnection) -> None:
    tasks.submit("a", "b")
    tasks.work("dead", most=2)
    tasks.release("dead")
    one, two = idle_when_tasks_wait(tasks, worker, "one"), idle_when_tasks_wait(tasks, worker, "two")
    tasks.submit("c")
    assert len(handed(worker, two) or []) == len(handed(worker, one) or []) == 1


def test_a_task_that_runs_alone_does_not_join_those_before_it(tasks: Tasks) -> None:
    tasks.submit("alone", "first")
    tasks.work("dead")
    tasks.work("leaves")
    tasks.release("dead")
    tasks.work("leaves", most=0)
    assert tasks.waiting == ["first", "alone"]
    assert tasks.work("one", most=8) == ["first"]
    assert tasks.work("two", most=8) == ["alone"]


def idle_when_tasks_wait(tasks: Tasks, worker: WorkerConnection, token: str) -> claims.Claimant:
    """As a process that was listed just before the tasks of a dead one came back."""
    tasks.redis.set(f"denzel:alive:{token}", 1)
    tasks.redis.lpush("denzel:idle", f"{token} {token}@tested 8 0 0")
    return claims.Claimant(token, f"{token}@tested", 8)


# ---- Holding back ----------------------------------------------------------------------------------------------------


def nudge(tasks: Tasks) -> tuple[int, bool]:
    return tasks.call(store.nudge, TERMS)


@pytest.mark.parametrize("quick", [True, False])
def test_a_process_is_believed_to_be_quick_from_when_it_gets_tasks(
    tasks: Tasks, worker: WorkerConnection, heard: Any, quick: bool
) -> None:
    """Its word holds for milliseconds: Redis tells of it as it is given."""
    given = ("__keyspace@0__:denzel:quick", "set")
    tasks.redis.config_set("notify-keyspace-events", "K$")
    try:
        idle(tasks, worker, "one", quick=quick)
        assert given not in heard()
        tasks.submit("a")
        assert (given in heard()) is quick
        claims.work(worker, TERMS, claims.Claimant("one", "one@tested", 1, quick=quick), [success("a")])
        assert given not in heard()
        tasks.submit("b")
        claims.work(worker, TERMS, claims.Claimant("one", "one@tested", 1, quick=quick), [])
        assert (given in heard()) is quick
    finally:
        tasks.redis.config_set("notify-keyspace-events", "")


def test_while_a_process_is_quick_nobody_else_is_woken(tasks: Tasks, worker: WorkerConnection) -> None:
    two, one = idle(tasks, worker, "two", most=8), idle(tasks, worker, "one", most=8, quick=True)
    tasks.submit("a")
    assert handed(worker, one) == ["a"]
    tasks.redis.set("denzel:quick", "one")  # without its expiry, which a slow machine might not wait for
    tasks.submit("b", "c")
    assert tasks.waiting == ["b", "c"]
    assert tasks.tickets == 0
    assert nudge(tasks) == (0, True)
    assert claims.work(worker, TERMS, one, [success("a")], stay=True)[0] == [("b", b'{"id":"b"}'), ("c", b'{"id":"c"}')]
    assert handed(worker, two) is None


def test_a_process_that_was_not_quick_after_all_leaves_what_waits_to_others(
    tasks: Tasks, worker: WorkerConnection
) -> None:
    two, one = idle(tasks, worker, "two", most=8), idle(tasks, worker, "one", most=8, quick=True)
    tasks.submit("a")
    assert handed(worker, one) == ["a"]
    tasks.submit("b")
    eventually(lambda: not tasks.redis.exists("denzel:quick"), "it is not believed any longer")
    nudge(tasks)
    assert handed(worker, two) == ["b"]


def test_as_many_are_woken_for_what_was_held_back_as_can_take_it(tasks: Tasks) -> None:
    tasks.beat(up=2)
    tasks.redis.set("denzel:quick", "one")
    tasks.submit("a", "b", "c")
    assert tasks.tickets == 0
    tasks.redis.delete("denzel:quick")
    assert nudge(tasks) == (2, False)
    assert tasks.tickets == 2


def test_a_quick_process_with_nothing_to_do_says_so(tasks: Tasks, worker: WorkerConnection) -> None:
    one = idle(tasks, worker, "one", most=8, quick=True)
    tasks.submit("a")
    assert handed(worker, one) == ["a"]
    tasks.redis.set("denzel:quick", "one")
    claims.work(worker, TERMS, one, [success("a")], stay=True)
    assert not tasks.redis.exists("denzel:quick")
    tasks.redis.set("denzel:quick", "two")
    claims.work(worker, TERMS, one, [], stay=True)
    assert tasks.redis.get("denzel:quick") == b"two", "what another one has said is not touched"


# ---- Death -----------------------------------------------------------------------------------------------------------


def test_the_task_of_a_dead_process_waits_again_in_front(tasks: Tasks) -> None:
    tasks.submit("a", "b")
    tasks.work("dead")
    started = tasks.record("a")["started"]
    tasks.redis.delete("denzel")
    assert tasks.release("dead") is True
    assert tasks.waiting == ["a", "b"]
    assert tasks.record("a")["status"] == "PENDING"
    assert tasks.tickets == 1
    assert tasks.work("next") == ["a"]
    assert tasks.record("a")["attempts"] == "2"
    assert tasks.record("a")["started"] == started


def test_releasing_again_does_nothing(tasks: Tasks) -> None:
    tasks.submit("a")
    tasks.work("dead")
    tasks.release("dead")
    tasks.work("next")
    assert tasks.release("dead") is False
    assert tasks.record("a")["status"] == "STARTED"
    assert tasks.record("a")["deaths"] == "1"


def test_a_task_that_ended_before_its_process_died_is_not_run_again(tasks: Tasks) -> None:
    tasks.submit("a", "b")
    tasks.work("dead", most=2)
    tasks.work("dead", success("a"), most=-1)
    tasks.cancel("b")
    tasks.release("dead")
    assert tasks.waiting == []


def test_tasks_that_ran_together_run_apart_after_a_death_and_none_is_blamed(tasks: Tasks) -> None:
    tasks.submit(*"abcd")
    tasks.work("dead", most=3)
    tasks.release("dead")
    assert sorted(tasks.waiting[:3]) == ["a", "b", "c"]
    assert all("deaths" not in tasks.record(task_id) for task_id in "abc")
    claims = [tasks.work(f"process-{turn}", most=10) for turn in range(4)]
    assert sorted(claims) == [["a"], ["b"], ["c"], ["d"]]


def test_a_task_that_kills_its_processes_is_given_up(tasks: Tasks, heard: Any) -> None:
    tasks.submit("a")
    for deaths in (1, 2, 3):
        eventually(lambda: tasks.beat() and tasks.work("token"), "it is claimed")
        tasks.release("token")
        assert tasks.record("a")["deaths"] == str(deaths)
        assert tasks.redis.zcard("denzel:delayed") == (deaths == 2)
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
    assert tasks.redis.zrange("denzel:callbacks", 0, -1) == [b"a"]


def test_a_time_limit_ends_no_merged_call(tasks: Tasks) -> None:
    tasks.submit("a", "b")
    tasks.work("token", most=2)
    tasks.call(nodes.time_out, TERMS, "token", "a", 30)
    assert tasks.record("a")["status"] == "STARTED"


@pytest.mark.parametrize("task_id", ["nobody", "done", "waits"])
def test_only_what_was_given_up_is_run_again(tasks: Tasks, task_id: str) -> None:
    tasks.submit("done")
    tasks.work("token")
    tasks.work("token", failure("done"))
    tasks.submit("waits")
    assert given_up.replay(tasks.redis, task_id) is False
    assert tasks.waiting == ["waits"]


# ---- beat ------------------------------------------------------------------------------------------------------------


def forget_silence(tasks: Tasks) -> None:
    """The first beat of all cannot tell the dead from the silent; this is not the first."""
    tasks.beat()
    tasks.redis.delete("denzel:amnesty")


def test_a_task_is_not_given_up_because_its_container_is_killed_a_few_times(tasks: Tasks) -> None:
    tasks.submit("a")
    tasks.beat()
    for losses in range(1, keys.MAX_LOSSES + 1):
        for delayed in tasks.redis.zrange("denzel:delayed", 0, -1):
            tasks.redis.zadd("denzel:delayed", {delayed: 0})  # its time has come
        tasks.beat()
        assert tasks.work("token") == ["a"]
        tasks.redis.delete("denzel:amnesty")
        tasks.beat()  # nobody vouches for its process
        assert tasks.record("a")["losses"] == str(losses)
        assert tasks.record("a")["status"] == ("FAILURE" if losses == keys.MAX_LOSSES else "PENDING")
    reason = "the process that ran this task was lost with its container, 10 times"
    assert json.loads(tasks.record("a")["result"]) == {"args": [reason], "type": "WorkerLostError"}
    assert "deaths" not in tasks.record("a")


def test_a_beat_gives_back_what_nobody_vouches_for(tasks: Tasks) -> None:
    forget_silence(tasks)
    tasks.submit("a", "b", "c")
    for token in ("first", "dead", "last"):
        tasks.work(token)
    tasks.beat("first", "last")
    assert tasks.waiting == ["b"]
    assert [tasks.record(task_id)["status"] for task_id in "abc"] == ["STARTED", "PENDING", "STARTED"]
    assert tasks.record("b")["losses"] == "1"


def test_another_nodes_word_counts_too(tasks: Tasks) -> None:
    forget_silence(tasks)
    tasks.submit("a")
    tasks.work("theirs")
    tasks.beat("theirs", name="worker-2@tested")
    tasks.beat("ours")
    assert tasks.record("a")["status"] == "STARTED"


def test_after_a_silence_of_all_nobody_is_taken_for_dead_at_once(tasks: Tasks) -> None:
    forget_silence(tasks)
    tasks.submit("a")
    tasks.work("slow")
    tasks.redis.set("denzel:last_beat", 1)  # Redis was away
    tasks.beat("quick")
    assert tasks.record("a")["status"] == "STARTED"
    assert 0 < tasks.redis.ttl("denzel:amnesty") <= keys.LEASE + 1


def test_a_beat_wakes_a_worker_when_tasks_wait_without_a_ticket(tasks: Tasks) -> None:
    assert tasks.beat() is False
    assert tasks.tickets == 0
    tasks.submit("a")
    tasks.redis.delete("denzel")
    assert tasks.beat() is True
    assert tasks.tickets == 1
    tasks.beat()
    assert tasks.tickets == 1


def test_while_redis_is_almost_full_nothing_is_accepted(tasks: Tasks) -> None:
    tasks.submit("a")
    tasks.beat(full=True)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        tasks.submit("b")
    assert tasks.record("b") == {}
    assert tasks.work("token") == ["a"]
    tasks.work("token", success("a"))
    assert tasks.record("a")["status"] == "SUCCESS"
    assert 0 < tasks.redis.ttl("denzel:full") <= keys.LEASE


def test_the_overview_tells_nodes_by_name_and_what_waits(tasks: Tasks) -> None:
    for name in ("worker-10@tested", "worker-2@tested", "worker@tested"):
        tasks.beat(name=name)
    tasks.submit("a", "b")
    tasks.redis.zadd("denzel:delayed", {"c": 9e9})
    waiting, found = tasks.call(nodes.overview)
    assert waiting == 3
    assert [node["name"] for node in found] == ["worker@tested", "worker-2@tested", "worker-10@tested"]
    assert all(node["state"] == "UP" and 0 <= node["age"] <= 2 for node in found)


def test_a_node_silent_for_a_minute_is_forgotten(tasks: Tasks) -> None:
    tasks.beat(name="worker@tested")
    beat = tasks.redis.hget("denzel:nodes", "worker@tested")
    seconds, _, heartbeat = beat.partition(b" ")
    tasks.redis.hset("denzel:nodes", "gone@tested", b"%d %s" % (int(seconds) - 61, heartbeat))
    tasks.redis.hset("denzel:nodes", "stale@tested", b"%d %s" % (int(seconds) - 30, heartbeat))
    tasks.beat(name="worker@tested")
    assert {node["name"] for node in tasks.call(nodes.overview)[1]} == {"worker@tested", "stale@tested"}
    assert tasks.redis.get("denzel:processes") == b"1"


# ---- detach ----------------------------------------------------------------------------------------------------------


def test_a_detached_task_is_polled_and_nobody_is_called(tasks: Tasks, heard: Any) -> None:
    tasks.submit("a", uri="http://x/")
    tasks.submit("b", uri="http://x/")
    tasks.work("token")
    for task_id in "ab":
        assert tasks.detach(task_id) is None
        assert tasks.detach(task_id) is None
    tasks.work("token", success("a"))
    tasks.work("token", success("b"))
    assert heard() == []
    assert tasks.redis.zcard("denzel:callbacks") == 0
    for task_id in "ab":
        assert tasks.record(task_id)["mode"] == "poll"
        assert tasks.expiry(task_id) > 60


@pytest.mark.parametrize("end", [success, failure])
def test_detaching_too_late_gives_the_outcome_and_keeps_it(tasks: Tasks, end: Any) -> None:
    tasks.submit("a")
    tasks.work("token")
    outcome = end("a")
    tasks.work("token", outcome)
    assert tasks.detach("a") == [outcome[1].encode(), outcome[2], outcome[3] or None]
    assert tasks.call(store.ending, "a") == [outcome[1].encode(), outcome[2], outcome[3] or None]
    assert tasks.expiry("a") > 60


def test_an_answer_that_nobody_hears_is_kept_for_whoever_was_told_to_poll(tasks: Tasks) -> None:
    tasks.submit("a", "b", "c")
    assert tasks.work("token", most=3) == ["a", "b", "c"]
    tasks.work("token", success("a"), failure("b"), most=-1)
    tasks.cancel("c")
    for task_id in "abc":
        assert tasks.call(store.ending, task_id) is not None
        assert tasks.expiry(task_id) > 60


def test_detaching_an_unknown_task_is_nothing(tasks: Tasks) -> None:
    assert tasks.detach("nobody") is None
    assert tasks.record("nobody") == {}
    assert tasks.call(store.ending, "nobody") is None


# ---- cancel ----------------------------------------------------------------------------------------------------------


def test_a_cancelled_task_frees_its_place_and_tells_who_waits(tasks: Tasks, heard: Any) -> None:
    tasks.submit("a", "b", most=2)
    assert tasks.cancel("a") == "PENDING"
    assert tasks.waiting == ["b"]
    assert heard() == [("channel", 'a REVOKED "The task was cancelled."')]
    assert tasks.call(store.ending, "a") == REVOKED
    assert not tasks.record("a")["request"]
    assert tasks.submit("c", most=2)[1] == 2
    assert tasks.cancel("a") == "REVOKED"
    assert heard() == []


def test_a_cancelled_task_is_called_back(tasks: Tasks) -> None:
    tasks.submit("a", mode="async", uri="http://x/")
    tasks.cancel("a")
    assert tasks.redis.zrange("denzel:callbacks", 0, -1) == [b"a"]


def test_cancelling_names_the_process_that_runs_nothing_else(tasks: Tasks, heard: Any) -> None:
    tasks.submit("a", "b", "c", mode="async")
    tasks.work("alone")
    tasks.work("merged", most=2)
    for task_id in "abc":
        assert tasks.cancel(task_id) == "STARTED"
    assert heard() == [("denzel:cancelled", "alone a")]
    tasks.work("alone", success("a"))
    tasks.work("merged", success("b"), failure("c"))
    assert {tasks.record(task_id)["status"] for task_id in "abc"} == {"REVOKED"}


def test_cancelling_too_late_or_for_nothing_changes_nothing(tasks: Tasks, heard: Any) -> None:
    tasks.submit("a")
    tasks.work("token")
    tasks.work("token", success("a"))
    heard()
    before = tasks.record("a")
    assert tasks.cancel("a") == "SUCCESS"
    assert tasks.cancel("nobody") is None
    assert tasks.record("a") == before
    assert heard() == []


def test_a_delayed_task_can_be_cancelled(tasks: Tasks) -> None:
    tasks.submit("a")
    for _ in range(2):
        tasks.work("token")
        tasks.release("token")
    assert tasks.redis.zcard("denzel:delayed") == 1
    assert tasks.cancel("a") == "PENDING"
    assert tasks.redis.zcard("denzel:delayed") == 0


# ---- The rest --------------------------------------------------------------------------------------------------------


def test_an_idempotency_key_keeps_what_it_was_bound_to_first(tasks: Tasks) -> None:
    key = "a key with spaces and ünïcode"
    assert tasks.call(store.reserve, key, "digest-1", "id-1", 100) == ("id-1", "digest-1")
    assert tasks.call(store.reserve, key, "digest-2", "id-2", 100) == ("id-1", "digest-1")
    assert tasks.call(store.reserve, "another", "digest-2", "id-2", 100) == ("id-2", "digest-2")


def test_status_tells_of_a_callback_only_where_there_will_be_one(tasks: Tasks) -> None:
    tasks.submit("a", mode="async", uri="http://x/")
    tasks.submit("b", mode="async")
    tasks.submit("c", mode="sync", uri="http://x/")
    assert tasks.call(store.status, "a")["callback"] == {"state": "pending", "attempts": 0}
    assert "callback" not in tasks.call(store.status, "b")
    assert "callback" not in tasks.call(store.status, "c")
    assert tasks.call(store.status, "nobody") is None


def test_scripts_survive_a_restart_of_redis(tasks: Tasks) -> None:
    tasks.submit("a")
    tasks.redis.script_flush()
    assert tasks.work("token") == ["a"]
    tasks.redis.script_flush()
    assert tasks.cancel("a") == "STARTED"


def test_no_command_is_newer_than_redis_6_2(tasks: Tasks) -> None:
    folder = Path(scripts.__file__).parent / "lua"
    sources = [path.read_text(encoding="utf-8") for path in folder.glob("*.lua")]
    assert len(sources) >= 15
    names = sorted({name for source in sources for name in re.findall(r"redis\.call\('([A-Z]+)'", source)})
    docs = tasks.redis.execute_command("COMMAND DOCS", *names)
    flat = docs if isinstance(docs, dict) else dict(zip(docs[::2], docs[1::2], strict=True))
    assert len(flat) == len(names)
    for name, fields in flat.items():
        fields = fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True))
        assert tuple(map(int, fields[b"since"].split(b"."))) <= (6, 2, 99), name
