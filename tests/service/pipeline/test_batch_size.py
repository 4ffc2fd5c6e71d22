"""How many tasks are claimed at once, driven by made-up durations."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from denzel.pipeline.batch_size import OVERHEAD, SHORT, BatchSize, Plan


def drive(
    size: BatchSize, duration: Callable[[int], float], waiting: int = 1000, batches: int = 200, processes: int = 1
) -> list[int]:
    """Claim while so many wait; how many were claimed each time."""
    claimed = []
    for _ in range(batches):
        tasks = min(size.plan.portion(waiting, processes), waiting)
        size.record(tasks, duration(tasks))
        claimed.append(tasks)
    return claimed


def noisy(duration: Callable[[int], float], seed: int = 1) -> Callable[[int], float]:
    """The same with a fifth of noise, and one in a hundred takes twenty times as long."""
    chance = random.Random(seed)
    return lambda tasks: duration(tasks) * chance.lognormvariate(0, 0.2) * (20 if chance.random() < 0.01 else 1)


# ---- The rule --------------------------------------------------------------------------------------------------------


def total(sizes: list[int], start: float, each: float) -> float:
    """The sum of the times at which tasks are done that run in calls of these sizes."""
    now = done = 0.0
    for size in sizes:
        now += start + each * size
        done += now * size
    return done


@pytest.mark.parametrize("waiting", [2, 10, 100, 1000])
@pytest.mark.parametrize(("start", "each"), [(0.0, 1.0), (1.0, 1.0), (20.0, 1.0), (300.0, 1.0), (1.0, 0.0)])
def test_what_waits_is_done_nearly_as_soon_as_can_be(waiting: int, start: float, each: float) -> None:
    def run_in(most: Callable[[int], int]) -> float:
        left, sizes = waiting, []
        while left:
            sizes.append(min(left, most(left)))
            left -= sizes[-1]
        return total(sizes, start, each)

    plan = Plan(waiting, 1, min(1e6, start / max(each, 1e-9)))
    best = min(run_in(lambda left, k=k: k) for k in range(1, waiting + 1))  # type: ignore[misc]
    assert run_in(plan.portion) <= 1.12 * best


def test_a_portion_leaves_others_their_share_where_calls_gain_little() -> None:
    assert [Plan(128, 1, 1.0).portion(waiting, 4) for waiting in (1, 4, 16, 64, 256)] == [1, 1, 4, 8, 16]
    assert [Plan(128, 1, 1e6).portion(waiting, 4) for waiting in (1, 4, 16, 64, 256)] == [128] * 5


# ---- Learning --------------------------------------------------------------------------------------------------------


def test_the_first_claim_is_one_task() -> None:
    assert BatchSize(128).plan.portion(1000) == 1


@pytest.mark.parametrize("seconds", [0.0001, 0.01, 0.05, 5.0])
def test_a_pipeline_that_does_not_merge_runs_one_by_one(seconds: float) -> None:
    assert set(drive(BatchSize(1), lambda tasks: seconds * tasks)) == {1}
    assert set(drive(BatchSize(1), lambda tasks: seconds)) == {1}


def test_a_fast_vectorised_pipeline_grows_to_the_most() -> None:
    size = BatchSize(128)
    drive(size, lambda tasks: 0.005 + 0.00002 * tasks)
    assert size.plan.portion(1000) == 128


def test_short_calls_take_what_waits_but_not_of_all_clients() -> None:
    size = BatchSize(128)
    drive(size, lambda tasks: 0.0005 + 0.00002 * tasks)
    assert size.plan.portion(40, processes=2) == size.plan.at_once == 32
    assert size.plan.portion(1000) == 32


def test_short_calls_are_claimed_together_at_once() -> None:
    """What waits for a short call is not divided, from the second claim on."""
    size = BatchSize(128)
    size.record(1, 0.0001)
    assert size.plan.portion(10, processes=8) == 10 == SHORT / 0.0001


def test_tasks_wait_little_for_each_other_where_each_costs_the_same() -> None:
    size, seconds = BatchSize(128), 0.001
    drive(size, lambda tasks: seconds * tasks, waiting=100)
    k = size.plan.portion(100)
    assert k >= 2, "it spares round trips"
    assert total([k] * (100 // k), OVERHEAD, seconds) <= total([1] * 100, OVERHEAD, seconds)


@pytest.mark.parametrize("waiting", [10, 1000])
def test_a_slow_pipeline_that_gains_nothing_runs_one_by_one(waiting: int) -> None:
    size = BatchSize(128)
    claimed = drive(size, lambda tasks: 0.05 * tasks, waiting, batches=1000)
    assert max(claimed) <= 2
    assert claimed.count(2) <= 3 * (1 + 1000 // 128)  # it asks now and then


def test_a_slow_vectorised_pipeline_grows_and_shares_what_is_more() -> None:
    size = BatchSize(64)
    claimed = drive(size, lambda tasks: 0.05 + 0.0001 * tasks)
    assert claimed[:7] == [1, 2, 4, 8, 16, 32, 64]
    assert size.plan.portion(1000) == 64
    shared = BatchSize(64)
    drive(shared, lambda tasks: 0.02 + 0.005 * tasks)
    assert shared.plan.portion(60, processes=2) < 60


def test_where_calls_cost_the_same_whatever_their_size_all_that_waits_is_one_call() -> None:
    size = BatchSize(128)
    drive(size, lambda tasks: 0.02)
    assert [size.plan.portion(waiting, 8) for waiting in (2, 50, 100)] == [128] * 3


def test_it_stops_growing_where_growing_stops_to_pay() -> None:
    size = BatchSize(128)
    drive(size, lambda tasks: 0.05 * max(1, tasks / 8))
    assert 8 <= size.plan.portion(40) <= 32


@pytest.mark.parametrize("step", [8, 16, 32])
def test_calls_end_before_a_step_beyond_which_tasks_cost_more(step: int) -> None:
    size = BatchSize(128)
    claimed = drive(size, lambda tasks: 0.01 + 0.0001 * tasks + (0.1 if tasks > step else 0), batches=400)
    assert claimed[200:].count(step) > 180


def test_small_claims_under_light_load_tell_nothing_of_large_ones() -> None:
    size = BatchSize(128)
    drive(size, lambda tasks: 0.01, waiting=1)
    assert size.plan.portion(100) <= 2


def test_what_was_learnt_of_large_calls_stays_known_under_light_load() -> None:
    size = BatchSize(128)
    drive(size, lambda tasks: 0.02, waiting=100)
    drive(size, lambda tasks: 0.02, waiting=1)
    assert sum(drive(size, lambda tasks: 0.02, waiting=100, batches=2)) >= 100


@pytest.mark.parametrize("load", [1, 100])
def test_a_pipeline_that_becomes_slow_shrinks_again(load: int) -> None:
    size = BatchSize(128)
    drive(size, lambda tasks: 0.001)
    drive(size, lambda tasks: 0.02 * tasks, waiting=load, batches=100)
    assert drive(size, lambda tasks: 0.02 * tasks, waiting=100, batches=20)[4:] == [1] * 16


@pytest.mark.parametrize("load", [2, 100])
def test_a_pipeline_that_becomes_vectorised_grows(load: int) -> None:
    size = BatchSize(128)
    drive(size, lambda tasks: 0.02 * tasks)
    drive(size, lambda tasks: 0.02 + 0.0001 * tasks, waiting=load, batches=300)
    assert drive(size, lambda tasks: 0.02 + 0.0001 * tasks, waiting=100, batches=10)[-1] >= 100


def test_a_larger_cost_of_all_calls_does_not_change_their_size() -> None:
    size = BatchSize(128)
    drive(size, lambda tasks: 0.02, waiting=100)
    drive(size, lambda tasks: 0.2, waiting=100, batches=300)
    assert size.plan.portion(100) >= 100


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("start", "each", "least", "most"), [
    (0.02, 0.0, 64, 128), (0.0, 0.02, 1, 8), (0.01, 0.01, 6, 50), (0.02, 0.001, 32, 128),
])  # fmt: skip
def test_noise_hides_little(seed: int, start: float, each: float, least: int, most: int) -> None:
    size = BatchSize(128)
    claimed = drive(size, noisy(lambda tasks: start + each * tasks, seed), waiting=100, batches=600)[100:]
    assert sum(least <= tasks <= most for tasks in claimed) > 0.9 * len(claimed), claimed


@pytest.mark.parametrize("each", [0.0, 0.02])
def test_a_slow_first_call_tells_nothing(each: float) -> None:
    size = BatchSize(128)
    size.record(1, 3.0)
    claimed = drive(size, lambda tasks: 0.02 + each * (tasks - 1), waiting=100, batches=40)
    assert claimed[-1] == (100 if not each else 1) or claimed[-1] == size.plan.portion(100) >= 100


def test_no_call_is_expected_to_take_longer_than_it_may() -> None:
    for each in (0.0, 0.1, 0.5):
        size = BatchSize(128, longest=3.0)
        claimed = drive(size, lambda tasks: 1.0 + each * tasks)  # noqa: B023
        assert max(1.0 + each * tasks for tasks in claimed) <= 3.0
        assert max(claimed) > 1


# ---- Waiting for more ------------------------------------------------------------------------------------------------


def test_nothing_is_expected_before_anything_is_known() -> None:
    size = BatchSize(128)
    assert size.expected(10) == 0.0
    assert not size.worth_waiting(1, 1e6)


def test_what_calls_will_take_is_expected() -> None:
    size = BatchSize(128)
    drive(size, lambda tasks: 0.01 + 0.001 * tasks, waiting=50)
    assert size.expected(20) == pytest.approx(0.03, rel=0.01)


def test_a_moment_is_worth_waiting_where_a_start_is_saved_for_many() -> None:
    size = BatchSize(128)
    drive(size, lambda tasks: 0.02, waiting=64)
    assert size.worth_waiting(1, arrivals_per_second=3000)
    assert size.worth_waiting(50, arrivals_per_second=3000)
    assert not size.worth_waiting(64, arrivals_per_second=3000)
    assert not size.worth_waiting(1, arrivals_per_second=1 / 0.0205), "a lone client"


def test_it_is_not_worth_it_where_each_task_costs_the_same() -> None:
    size = BatchSize(128)
    drive(size, lambda tasks: 0.02 * tasks, waiting=64)
    assert not size.worth_waiting(1, arrivals_per_second=1e6)


# ---- What must not happen --------------------------------------------------------------------------------------------


def test_any_durations_give_a_plan() -> None:
    chance = random.Random(1)
    for seed in range(20):
        size, span = BatchSize(128), 2 + seed % 8
        claimed = drive(size, lambda tasks: 10 ** chance.uniform(-span, span), waiting=100, batches=300)  # noqa: B023
        assert all(1 <= tasks <= 100 for tasks in claimed)
    size = BatchSize(128)
    assert drive(size, lambda tasks: 0.0, waiting=100)[-1] == 32


def test_a_size_that_was_used_very_long_ago_does_no_harm() -> None:
    size = BatchSize(128)
    drive(size, lambda tasks: 0.02, waiting=100)
    drive(size, lambda tasks: 0.02, waiting=1, batches=150_000)
    assert sum(drive(size, lambda tasks: 0.02, waiting=100, batches=2)) >= 100
