"""How many tasks a process claims: the script says the same as the model, whichever way they are claimed."""

from __future__ import annotations

import pytest

from denzel.pipeline.batch_size import Plan
from denzel.queue import claims
from denzel.queue.scripts import Script
from denzel.queue.worker_connection import WorkerConnection
from tests.service.support.tasks import TERMS, Tasks, take

PORTION = Script("return portion(claimant(ARGV[1]), tonumber(ARGV[2]))")
PLANS = [
    Plan(),
    Plan(2, 1, 1e6),
    Plan(32, 32, 23.5),
    Plan(128, 1, 0.01),
    Plan(128, 1, 0.25),
    Plan(128, 1, 1.0),
    Plan(128, 3, 62.037),
    Plan(128, 10, 1e6),
]


@pytest.mark.parametrize("processes", [1, 2, 3, 8])
@pytest.mark.parametrize("plan", PLANS)
def test_the_script_claims_what_the_model_says(tasks: Tasks, plan: Plan, processes: int) -> None:
    tasks.beat("one", up=processes)
    listed = f"one one@tested {plan.most} {plan.at_once} {plan.ratio} 0"
    for waiting in (*range(1, 20), 32, 33, 64, 100, 999, 10_000):
        assert PORTION(tasks.redis, listed, waiting) == plan.portion(waiting, processes), waiting


def test_it_is_claimed_as_it_waits_and_handed_over_as_it_comes(tasks: Tasks, worker: WorkerConnection) -> None:
    plan, ids = Plan(128, 1, 2.0), [f"task-{number}" for number in range(20)]
    tasks.beat("one", up=2)
    claimant = claims.Claimant("one", "one@tested", *plan)
    assert claims.work(worker, TERMS, claimant, [], stay=True) == ([], 0)
    tasks.submit(*ids)
    handed = take(worker, claimant)
    assert handed is not None
    assert len(handed[0]) == plan.portion(20, 2) == 9
    tasks.redis.flushall()
    tasks.beat("one", up=2)
    tasks.submit(*ids)
    assert len(claims.work(worker, TERMS, claimant, [])[0]) == 9


def test_who_was_listed_before_an_update_is_handed_nothing_that_it_could_not_read(tasks: Tasks) -> None:
    tasks.beat("one", up=2)
    tasks.redis.lpush("denzel/tested:idle", "one one@tested 8 0 1")
    tasks.submit("a")
    assert (tasks.waiting, tasks.tickets) == (["a"], 1), "a message wakes it"
