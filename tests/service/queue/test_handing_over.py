"""Tasks that are claimed for an idle process as they come, and those that wait for one which will be back at once."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from denzel.queue import claims, store
from denzel.queue.worker_connection import WorkerConnection
from tests.service.support.tasks import TERMS, Tasks, new_claimant, success, take
from tests.support.services import Service
from tests.support.waiting import eventually

# ---- Handing over ----------------------------------------------------------------------------------------------------


def idle(
    tasks: Tasks, worker: WorkerConnection, token: str, most: int = 1, share: bool = False, quick: bool = False
) -> claims.Claimant:
    """A process that lives, has found nothing to do and stays for what is handed over."""
    tasks.redis.set(f"denzel/tested:alive:{token}", 1)
    claimant = new_claimant(token, most, share, quick)
    assert claims.work(worker, TERMS, claimant, [], stay=True) == ([], 0)
    return claimant


def handed(worker: WorkerConnection, claimant: claims.Claimant) -> list[str] | None:
    found = take(worker, claimant)
    return None if found is None else [task_id for task_id, _ in found[0]]


def test_a_task_is_claimed_for_an_idle_process_as_it_is_submitted(tasks: Tasks, worker: WorkerConnection) -> None:
    claimant = idle(tasks, worker, "one")
    tasks.submit("a")
    assert tasks.waiting == []
    assert tasks.tickets == 0
    record = tasks.record("a")
    assert (record["status"], record["worker"], record["attempts"]) == ("STARTED", "one@tested", "1")
    assert take(worker, claimant) == ([("a", b'{"id":"a"}')], 0)
    assert tasks.work("one", success("a")) == []
    assert tasks.record("a")["status"] == "SUCCESS"
    assert tasks.redis.keys("denzel/tested:claim*") == []


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
    tasks.redis.delete("denzel/tested:alive:gone")
    tasks.submit("a")
    assert tasks.waiting == ["a"]
    assert tasks.tickets == 1
    assert handed(worker, claimant) is None
    tasks.beat()
    assert tasks.redis.llen("denzel/tested:idle:3") == 0, "it is forgotten"


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
    assert tasks.redis.llen("denzel/tested:idle:3") == 1


def test_what_waits_already_is_handed_over_first(tasks: Tasks, worker: WorkerConnection) -> None:
    one = idle(tasks, worker, "one")
    tasks.redis.set("denzel/tested:quick", "another")
    tasks.submit("a")
    tasks.redis.delete("denzel/tested:quick")
    tasks.submit("b")
    assert handed(worker, one) == ["a"]
    assert tasks.waiting == ["b"]


def test_a_process_that_has_left_is_handed_nothing(tasks: Tasks, worker: WorkerConnection) -> None:
    claimant = idle(tasks, worker, "one")
    assert claims.work(worker, TERMS, claimant, [], 0) == ([], 0)
    tasks.submit("a")
    assert tasks.waiting == ["a"]
    assert tasks.redis.llen("denzel/tested:idle:3") == 0


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
    assert tasks.redis.llen("denzel/tested:idle:3") == 1
    assert claims.work(worker, TERMS, claimant, [], 0) == ([], 0)
    assert tasks.redis.llen("denzel/tested:idle:3") == 0


def test_what_was_handed_to_a_process_as_it_left_waits_again(tasks: Tasks, worker: WorkerConnection) -> None:
    claimant = idle(tasks, worker, "one")
    tasks.submit("a")
    assert claims.work(worker, TERMS, claimant, [], 0) == ([], 1)
    assert tasks.waiting == ["a"]
    assert tasks.tickets == 1
    assert (tasks.record("a")["status"], tasks.record("a")["attempts"]) == ("PENDING", "0"), "it has not run"
    assert tasks.redis.keys("denzel/tested:hand:*") == []


def test_what_was_handed_to_a_process_that_died_waits_again(tasks: Tasks, worker: WorkerConnection) -> None:
    idle(tasks, worker, "dead")
    tasks.submit("a")
    assert tasks.release("dead") is True
    assert tasks.waiting == ["a"]
    assert tasks.redis.keys("denzel/tested:hand:*") == []


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
    tasks.redis.set(f"denzel/tested:alive:{token}", 1)
    tasks.redis.lpush("denzel/tested:idle:3", f"{token} {token}@tested 8 8 0.0 0")
    return new_claimant(token, 8)


def test_what_a_process_was_handed_while_it_was_given_long_work_goes_elsewhere(
    tasks: Tasks, worker: WorkerConnection
) -> None:
    """An API process has given it a task directly, without a word to Redis until that takes long."""
    one = idle(tasks, worker, "one")
    tasks.submit("a")
    two = idle(tasks, worker, "two")
    assert tasks.promote("long", "one") == 0
    assert handed(worker, two) == ["a"]
    assert (tasks.record("a")["token"], tasks.record("a")["attempts"]) == ("two", "1")
    assert tasks.record("long")["token"] == "one"
    assert claims.work(worker, TERMS, one, [success("long")], 0) == ([], 0)
    assert tasks.record("a")["status"] == "STARTED", "it runs elsewhere"
    assert tasks.record("long")["status"] == "SUCCESS"


def test_it_stays_where_the_call_may_be_short(tasks: Tasks, worker: WorkerConnection) -> None:
    one = idle(tasks, worker, "one")
    tasks.submit("a")
    assert tasks.promote("polled", "one", takes_long=False) == 0
    assert handed(worker, one) == ["a"], "it runs next, without asking"
    assert tasks.waiting == []


def test_it_waits_for_whoever_comes_next_where_nobody_is_idle(tasks: Tasks, worker: WorkerConnection) -> None:
    idle(tasks, worker, "one")
    tasks.submit("a")
    assert tasks.promote("long", "one") == 1
    assert (tasks.waiting, tasks.tickets) == (["a"], 1)
    assert tasks.work("two") == ["a"]
    assert tasks.promote("another", "two") == 0
    assert tasks.record("a")["status"] == "STARTED", "it was claimed, not handed over: it runs, perhaps"


# ---- Holding back ----------------------------------------------------------------------------------------------------


def nudge(tasks: Tasks) -> tuple[int, bool]:
    return tasks.call(store.nudge, TERMS)


@pytest.mark.parametrize("quick", [True, False])
def test_a_process_is_believed_to_be_quick_from_when_it_gets_tasks(
    tasks: Tasks, worker: WorkerConnection, heard: Any, quick: bool
) -> None:
    """Its word holds for milliseconds: Redis tells of it as it is given."""
    given = ("__keyspace@0__:denzel/tested:quick", "set")
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
    tasks.redis.set("denzel/tested:quick", "one")  # without its expiry, which a slow machine might not wait for
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
    eventually(lambda: not tasks.redis.exists("denzel/tested:quick"), "it is not believed any longer")
    nudge(tasks)
    assert handed(worker, two) == ["b"]


def test_as_many_are_woken_for_what_was_held_back_as_can_take_it(tasks: Tasks) -> None:
    tasks.beat(up=2)
    tasks.redis.set("denzel/tested:quick", "one")
    tasks.submit("a", "b", "c")
    assert tasks.tickets == 0
    tasks.redis.delete("denzel/tested:quick")
    assert nudge(tasks) == (2, False)
    assert tasks.tickets == 2


def test_a_quick_process_with_nothing_to_do_says_so(tasks: Tasks, worker: WorkerConnection) -> None:
    one = idle(tasks, worker, "one", most=8, quick=True)
    tasks.submit("a")
    assert handed(worker, one) == ["a"]
    tasks.redis.set("denzel/tested:quick", "one")
    claims.work(worker, TERMS, one, [success("a")], stay=True)
    assert not tasks.redis.exists("denzel/tested:quick")
    tasks.redis.set("denzel/tested:quick", "two")
    claims.work(worker, TERMS, one, [], stay=True)
    assert tasks.redis.get("denzel/tested:quick") == b"two", "what another one has said is not touched"
