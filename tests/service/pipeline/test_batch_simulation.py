"""Batches that find their size, in a simulated service: beside the best fixed size in the same one."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.service.pipeline.batch_simulation import Cost, Fixed, Learning, Policy, Run, Simulation

COSTS: dict[str, Cost] = {
    "fixed": lambda tasks, _: 0.02,
    "linear": lambda tasks, _: 0.02 * tasks,
    "nearly fixed": lambda tasks, _: 0.006 + 0.0001 * tasks,
    "start of ten": lambda tasks, _: 0.02 + 0.002 * tasks,
    "start of one": lambda tasks, _: 0.01 + 0.01 * tasks,
    "cache": lambda tasks, _: 0.01 + 0.0002 * tasks + 0.002 * max(0, tasks - 16),
    "GPU": lambda tasks, _: 0.02 * math.ceil(tasks / 32),
    "quick": lambda tasks, _: 0.0002 + 0.00001 * tasks,
}
FIXED = [Fixed(most) for most in (1, 4, 16, 32, 128)] + [Fixed(8, share=True)]
LOADS = [(2, 2), (16, 1), (16, 2), (64, 2), (64, 8)]  # clients and processes


def simulate(policy: Callable[[], Policy], processes: int, cost: Cost, **load: Any) -> Run:
    return Simulation([policy() for _ in range(processes)], cost, **load).go()


def best_fixed(measure: Callable[[Run], float], processes: int, cost: Cost, **load: Any) -> float:
    return min(measure(simulate(lambda: fixed, processes, cost, **load)) for fixed in FIXED)  # noqa: B023


def noisy(cost: Cost, seed: int) -> Cost:
    """The same with a fifth of noise, and one in a hundred takes twenty times as long."""
    chance = random.Random(seed)
    return lambda tasks, now: cost(tasks, now) * chance.lognormvariate(0, 0.2) * (20 if chance.random() < 0.01 else 1)


# ---- Clients that wait for their answers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "clients", "processes"),
    [(name, *load) for name in COSTS for load in LOADS] + [("nearly fixed", 256, 2), ("start of one", 256, 2)],
)
def test_clients_get_nearly_as_many_answers_as_can_be(name: str, clients: int, processes: int) -> None:
    cost = COSTS[name]
    part = math.ceil(clients / processes)
    until = 60 * min(cost(part, 0), part * cost(1, 0))

    def seconds_per_task(run: Run) -> float:
        return 1 / run.rate(until / 2, until)

    load: dict[str, Any] = {"clients": clients, "until": until}
    found = seconds_per_task(simulate(Learning, processes, cost, **load))
    best = best_fixed(seconds_per_task, processes, cost, **load)
    assert found <= 1.25 * best


@pytest.mark.parametrize("name", COSTS)
@pytest.mark.parametrize("processes", [1, 2, 8])
def test_a_lone_client_never_waits(name: str, processes: int) -> None:
    cost = COSTS[name]
    run = simulate(Learning, processes, cost, clients=1, until=200 * cost(1, 0))
    assert set(run.sizes()) == {1}
    assert max(done - came for came, done in run.tasks) <= cost(1, 0) + 0.0003


@pytest.mark.parametrize("clients", [4, 64])
def test_where_each_task_costs_the_same_none_waits_for_another(clients: int) -> None:
    cost = COSTS["linear"]
    load: dict[str, Any] = {"clients": clients, "until": 20}
    found, singles = (simulate(policy, 2, cost, **load).latency(5) for policy in (Learning, lambda: Fixed(1)))
    assert found <= 1.03 * singles


@pytest.mark.parametrize("name", ["fixed", "linear", "start of one"])
def test_noise_costs_little(name: str) -> None:
    def mean(policy: Callable[[], Policy]) -> float:
        rates = [
            simulate(policy, 2, noisy(COSTS[name], seed), clients=64, until=12, seed=seed).rate(4, 12)
            for seed in range(3)
        ]
        return sum(rates) / len(rates)

    best = max(mean(lambda: fixed) for fixed in (Fixed(1), Fixed(32)))  # noqa: B023
    assert mean(Learning) >= 0.8 * best


@pytest.mark.parametrize(("before", "after"), [("fixed", "linear"), ("linear", "fixed")])
def test_a_cost_that_changes_is_followed(before: str, after: str) -> None:
    def cost(tasks: int, now: float) -> float:
        return COSTS[before if now < 5 else after](tasks, now)

    found = simulate(Learning, 2, cost, clients=32, until=16)
    known = simulate(Learning, 2, COSTS[after], clients=32, until=16)
    assert found.rate(8, 16) >= 0.85 * known.rate(8, 16)
    assert found.latency(8) <= 1.2 * known.latency(8)


# ---- Bursts ----------------------------------------------------------------------------------------------------------

# Seconds at which a hundred tasks come at once, until all is known; then the one that counts.
LAST = 100.0
BURSTS = [float(10 * number) for number in range(6) for _ in range(100)] + [LAST] * 100


@pytest.mark.parametrize("name", COSTS)
@pytest.mark.parametrize("processes", [1, 2, 8])
def test_a_burst_is_done_nearly_as_soon_as_can_be(name: str, processes: int) -> None:
    def latency(run: Run) -> float:
        return run.latency(LAST)

    found = latency(simulate(Learning, processes, COSTS[name], arrivals=BURSTS))
    best = best_fixed(latency, processes, COSTS[name], arrivals=[LAST] * 100)
    # Of a step six bursts tell little.
    assert found <= (1.75 if name == "GPU" else 1.3) * best


@pytest.mark.parametrize("processes", [1, 2, 8])
def test_where_all_calls_cost_the_same_a_burst_is_one_call(processes: int) -> None:
    run = simulate(Learning, processes, COSTS["fixed"], arrivals=BURSTS)
    assert run.sizes(LAST) == [100]
    after_light_load = [*BURSTS, *(LAST + 1 + 0.1 * number for number in range(400)), *[LAST + 50] * 100]
    assert (
        len(simulate(Learning, processes, COSTS["fixed"], arrivals=after_light_load).sizes(LAST + 50)) <= processes + 1
    )


def test_the_first_burst_of_all_reaches_its_size_in_a_few_calls() -> None:
    assert simulate(Learning, 1, COSTS["fixed"], arrivals=[0.0] * 100).sizes() == [1, 2, 4, 8, 16, 32, 37]


# ---- Tasks that come whatever becomes of those before them -----------------------------------------------------------


@pytest.mark.parametrize("name", COSTS)
@pytest.mark.parametrize(("processes", "load"), [(1, 0.5), (2, 0.5), (2, 0.9)])
def test_arrivals_wait_hardly_longer_than_they_must(name: str, processes: int, load: float) -> None:
    """The capacity is meant of calls of sixteen."""
    chance, now, arrivals = random.Random(1), 0.0, []
    per_second = load * processes * max(tasks / (COSTS[name](tasks, 0) + 0.0002) for tasks in (1, 16))
    while len(arrivals) < 2000:
        now += chance.expovariate(per_second)
        arrivals.append(now)

    def latency(run: Run) -> float:
        return run.latency(now / 2)

    found = latency(simulate(Learning, processes, COSTS[name], arrivals=arrivals))
    best = best_fixed(latency, processes, COSTS[name], arrivals=arrivals)
    assert found <= (1.25 if load < 0.9 else 1.6) * best
