"""How many tasks are claimed at once, driven by made-up durations."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from denzel.pipeline.batch_size import TARGET, BatchSize


def drive(size: BatchSize, duration: Callable[[int], float], waiting: int = 1000, batches: int = 200) -> list[int]:
    """Claim from a full queue; how many were claimed each time."""
    claimed = []
    for _ in range(batches):
        tasks = min(size.limit, waiting)
        size.record(tasks, duration(tasks))
        claimed.append(tasks)
    return claimed


def test_the_first_claim_is_one_task() -> None:
    assert BatchSize(128).limit == 1


@pytest.mark.parametrize("seconds", [0.0001, TARGET, 0.05, 5.0])
def test_a_pipeline_that_does_not_merge_runs_one_by_one(seconds: float) -> None:
    assert set(drive(BatchSize(1), lambda tasks: seconds * tasks)) == {1}


def test_a_fast_vectorised_pipeline_grows_to_the_most() -> None:
    size = BatchSize(128)
    drive(size, lambda tasks: 0.0005 + 0.00002 * tasks)
    assert size.limit == 128
    assert not size.takes_fair_share


def test_a_batch_stays_short_where_each_task_costs_the_same() -> None:
    size = BatchSize(128)
    claimed = drive(size, lambda tasks: 0.001 * tasks)
    assert max(claimed) * 0.001 <= TARGET
    assert size.limit >= 4


def test_a_slow_pipeline_that_gains_nothing_runs_one_by_one() -> None:
    size = BatchSize(128)
    claimed = drive(size, lambda tasks: 0.05 * tasks)
    assert max(claimed) <= 2
    assert claimed.count(2) <= 200 // 60 + 1  # it asks now and then


def test_a_slow_vectorised_pipeline_grows_and_shares() -> None:
    size = BatchSize(64)
    drive(size, lambda tasks: 0.05 + 0.0001 * tasks)
    assert size.limit == 64
    assert size.takes_fair_share


def test_it_stops_growing_where_growing_stops_to_pay() -> None:
    size = BatchSize(128)
    drive(size, lambda tasks: 0.05 * max(1, tasks / 8))
    assert 4 <= size.limit <= 16


def test_small_claims_under_light_load_do_not_grow_the_limit() -> None:
    size = BatchSize(128)
    drive(size, lambda tasks: 0.001, waiting=1)
    assert size.limit <= 2


def test_a_pipeline_that_becomes_slow_shrinks_again() -> None:
    size = BatchSize(128)
    drive(size, lambda tasks: 0.001)
    drive(size, lambda tasks: 0.02 * tasks)
    assert size.limit <= 2
