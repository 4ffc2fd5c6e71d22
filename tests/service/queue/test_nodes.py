"""Who is vouched for by the beats of the nodes, and what becomes of the tasks of the dead."""

from __future__ import annotations

import json

import pytest
import redis

from denzel.queue import keys, nodes
from tests.service.support.tasks import TERMS, Tasks, success

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


def test_a_time_limit_ends_no_merged_call(tasks: Tasks) -> None:
    tasks.submit("a", "b")
    tasks.work("token", most=2)
    tasks.call(nodes.time_out, TERMS, "token", "a", 30)
    assert tasks.record("a")["status"] == "STARTED"


# ---- beat ------------------------------------------------------------------------------------------------------------


def forget_silence(tasks: Tasks) -> None:
    """The first beat of all cannot tell the dead from the silent; this is not the first."""
    tasks.beat()
    tasks.redis.delete("denzel/tested:amnesty")


def test_a_task_is_not_given_up_because_its_container_is_killed_a_few_times(tasks: Tasks) -> None:
    tasks.submit("a")
    tasks.beat()
    for losses in range(1, keys.MAX_LOSSES + 1):
        for delayed in tasks.redis.zrange("denzel/tested:delayed", 0, -1):
            tasks.redis.zadd("denzel/tested:delayed", {delayed: 0})  # its time has come
        tasks.beat()
        assert tasks.work("token") == ["a"]
        tasks.redis.delete("denzel/tested:amnesty")
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
    tasks.redis.set("denzel/tested:last_beat", 1)  # Redis was away
    tasks.beat("quick")
    assert tasks.record("a")["status"] == "STARTED"
    assert 0 < tasks.redis.ttl("denzel/tested:amnesty") <= keys.LEASE + 1


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
    assert 0 < tasks.redis.ttl("denzel/tested:full") <= keys.LEASE


def test_the_overview_tells_nodes_by_name_and_what_waits(tasks: Tasks) -> None:
    for name in ("worker-10@tested", "worker-2@tested", "worker@tested"):
        tasks.beat(name=name)
    tasks.submit("a", "b")
    tasks.redis.zadd("denzel/tested:delayed", {"c": 9e9})
    waiting, found, ingest = tasks.call(nodes.overview)
    assert (waiting, ingest) == (3, None)
    assert [node["name"] for node in found] == ["worker@tested", "worker-2@tested", "worker-10@tested"]
    assert all(node["state"] == "UP" and 0 <= node["age"] <= 2 for node in found)


def test_a_node_silent_for_a_minute_is_forgotten(tasks: Tasks) -> None:
    tasks.beat(name="worker@tested")
    beat = tasks.redis.hget("denzel/tested:nodes", "worker@tested")
    seconds, _, heartbeat = beat.partition(b" ")
    tasks.redis.hset("denzel/tested:nodes", "gone@tested", b"%d %s" % (int(seconds) - 61, heartbeat))
    tasks.redis.hset("denzel/tested:nodes", "stale@tested", b"%d %s" % (int(seconds) - 30, heartbeat))
    tasks.beat(name="worker@tested")
    assert {node["name"] for node in tasks.call(nodes.overview)[1]} == {"worker@tested", "stale@tested"}
    assert tasks.redis.get("denzel/tested:processes") == b"1"
