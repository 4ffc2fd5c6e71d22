"""A process claims tasks and stores what became of them: done again, done too late, or racing with another."""

from __future__ import annotations

from typing import Any

from denzel.executor import Task
from denzel.queue import claims, store
from tests.service.support.tasks import TERMS, Tasks, failure, new_claimant, success


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
    assert tasks.redis.keys("denzel/tested:claim*") == []


def test_an_asynchronous_end_schedules_its_callback_once(tasks: Tasks, heard: Any) -> None:
    tasks.submit("a", mode="async", uri="http://x/")
    tasks.submit("b", mode="async")
    tasks.submit("c", mode="sync", uri="http://x/")
    tasks.work("token", most=3)
    tasks.work("token", success("a"), success("b"), success("c"), most=0)
    tasks.work("token", success("a"), most=0)
    assert tasks.redis.zrange("denzel/tested:callbacks", 0, -1) == [b"a"]
    assert sorted(heard()) == [("channel", 'c SUCCESS {"a":1}'), ("denzel/tested:callbacks:wake", "a")]
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
    tasks.redis.rpush("denzel/tested:waiting", "a", "unknown")
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


def test_where_claimed_tasks_come_from_is_known_until_the_next_claim(tasks: Tasks) -> None:
    """Also while some of them are ended that are not going to be run."""
    for task_id in ("a", "b"):
        task = Task(task_id, b'{"id":"%s"}' % task_id.encode(), "sync", None, reply_to="channel")
        task.origin = f"request-{task_id},,,"
        tasks.call(store.submit, TERMS, [task], 10, 5.0)
    claimant = new_claimant("token", 2)
    claims.work(tasks.redis, TERMS, claimant, [], 2)
    claims.work(tasks.redis, TERMS, claimant, [success("a")], -1)
    assert claimant.origins == {"a": "request-a,,,", "b": "request-b,,,"}


def test_the_last_one_of_several_tasks_is_alone_when_the_others_have_ended(tasks: Tasks, heard: Any) -> None:
    tasks.submit("a", "b")
    tasks.work("token", most=2)
    tasks.work("token", success("a"), most=-1)
    heard()
    tasks.cancel("b")
    assert ("denzel/tested:cancelled", "token b") in heard()


def test_whoever_leaves_tasks_behind_leaves_a_ticket(tasks: Tasks) -> None:
    tasks.submit("a", "b", "c")
    tasks.redis.delete("denzel")
    tasks.work("token")
    assert tasks.tickets == 1
    tasks.redis.delete("denzel")
    tasks.work("token", success("a"), most=5)
    assert tasks.tickets == 0
