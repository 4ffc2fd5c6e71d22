"""How the speed of a process is measured."""

from __future__ import annotations

import random

import pytest

from denzel.pipeline.speed import Speed, speed_of_all


def measured(*calls: tuple[int, float], most: int = 1, left_waiting: bool = True) -> Speed:
    speed = Speed()
    for tasks, seconds in calls:
        speed.record(tasks, seconds, most, left_waiting)
    return speed


def test_nothing_is_known_at_first() -> None:
    assert (Speed().tasks_per_second, Speed().seconds_per_call) == (0, 0)


def test_the_first_call_counts() -> None:
    assert measured((1, 0.05)).tasks_per_second == pytest.approx(20)


def test_calls_count_by_the_time_that_they_take() -> None:
    generator = random.Random(1)
    calls = [(1, generator.choice((0.01, 0.2))) for _ in range(2000)]
    assert measured(*calls).tasks_per_second == pytest.approx(1 / 0.105, rel=0.3)


def test_a_single_exception_hardly_counts() -> None:
    assert measured(*[(1, 0.05)] * 100, (1, 60.0)).tasks_per_second > 14


@pytest.mark.parametrize(("before", "after", "calls"), [(0.05, 5.0, 6), (5.0, 0.05, 200), (0.05, 0.1, 60)])
def test_a_change_is_followed(before: float, after: float, calls: int) -> None:
    speed = measured(*[(1, before)] * 100, *[(1, after)] * calls)
    assert speed.tasks_per_second == pytest.approx(1 / after, rel=0.5)


def test_small_calls_say_nothing_of_how_fast_full_ones_are() -> None:
    speed = measured((1, 0.01), most=32, left_waiting=False)
    assert speed.tasks_per_second == pytest.approx(3200), "a full call may take no longer"
    speed.record(32, 0.32, 32, left_waiting=True)
    assert speed.tasks_per_second == pytest.approx(100), "now it is known"
    speed.record(1, 0.2, 32, left_waiting=False)
    assert speed.tasks_per_second == pytest.approx(100)


def test_processes_that_are_not_measured_count_as_the_others() -> None:
    assert speed_of_all([]) == (0, 0)
    assert speed_of_all([(0, 0, 0)]) == (0, 0)
    assert speed_of_all([(20, 0.05, 0), (0, 0, 0)]) == (40, 0.05)


def test_a_process_whose_call_does_not_end_is_slower() -> None:
    assert speed_of_all([(20, 0.05, 0.4), (20, 0.05, 5.0)]) == (pytest.approx(22), 0.05)
