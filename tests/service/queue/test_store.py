"""What the API does with a task: submits it, detaches it, cancels it, asks for it; again, too late, or racing."""

from __future__ import annotations

from typing import Any

import pytest

from denzel.executor import Task
from denzel.queue import nodes, store
from denzel.queue.ticket import QueueSettings
from tests.service.support.tasks import REVOKED, TERMS, Tasks, failure, success

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
        "waits": "10",
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
        tasks.redis.set("denzel/tested:synchronous_timeout", live)
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
    assert tasks.redis.zcard("denzel/tested:callbacks") == 0
    for task_id in "ab":
        assert tasks.record(task_id)["mode"] == "poll"
        assert tasks.expiry(task_id) > 60


@pytest.mark.parametrize("end", [success, failure])
def test_detaching_too_late_gives_the_outcome_and_keeps_it(tasks: Tasks, end: Any) -> None:
    tasks.submit("a")
    tasks.work("token")
    outcome = end("a")
    tasks.work("token", outcome)
    assert tasks.detach("a") == [outcome[1].encode(), outcome[2], outcome[3] or None, None, None]
    assert tasks.call(store.ending, "a") == [outcome[1].encode(), outcome[2], outcome[3] or None, None, None]
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
    assert tasks.call(store.ending, "a") == [*REVOKED, None, None]
    assert not tasks.record("a")["request"]
    assert tasks.submit("c", most=2)[1] == 2
    assert tasks.cancel("a") == "REVOKED"
    assert heard() == []


def test_a_cancelled_task_is_called_back(tasks: Tasks) -> None:
    tasks.submit("a", mode="async", uri="http://x/")
    tasks.cancel("a")
    assert tasks.redis.zrange("denzel/tested:callbacks", 0, -1) == [b"a"]


def test_cancelling_names_the_process_that_runs_nothing_else(tasks: Tasks, heard: Any) -> None:
    tasks.submit("a", "b", "c", mode="async")
    tasks.work("alone")
    tasks.work("merged", most=2)
    for task_id in "abc":
        assert tasks.cancel(task_id) == "STARTED"
    assert heard() == [("denzel/tested:cancelled", "alone a")]
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
    assert tasks.redis.zcard("denzel/tested:delayed") == 1
    assert tasks.cancel("a") == "PENDING"
    assert tasks.redis.zcard("denzel/tested:delayed") == 0


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
