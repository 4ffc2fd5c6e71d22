"""What the monitor is told: everything at a bearable rate, above it what matters."""

from __future__ import annotations

from typing import Any

import pytest

from denzel.worker import monitoring
from denzel.worker.monitoring import Allowance, TaskEvents


class Recorder:
    """Takes the place of Celery's dispatcher."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.flushes = 0

    def send(self, type: str, **fields: Any) -> None:
        self.events.append((type, fields["uuid"]))

    def flush(self) -> None:
        self.flushes += 1


def run(events: TaskEvents, count: int, status: str = "SUCCESS", seconds: float = 0.001) -> list[str]:
    tasks = [(f"{status}-{number}", b"{}") for number in range(count)]
    events.begin(tasks, may_take_long=False)
    events.end(tasks, [(task_id, status, b"{}", b'"no"') for task_id, _ in tasks], seconds)
    return [task_id for task_id, _ in tasks]


def test_a_task_is_shown_from_its_receipt_to_its_end() -> None:
    events = TaskEvents(rate=10)
    events.dispatcher = recorder = Recorder()
    (task_id,) = run(events, 1)
    assert recorder.events == [(f"task-{name}", task_id) for name in ("received", "started", "succeeded")]


def test_above_the_rate_a_sample_is_shown_and_the_rest_counted() -> None:
    events = TaskEvents(rate=10)
    events.dispatcher = recorder = Recorder()
    run(events, 500)
    shown = {task_id for _, task_id in recorder.events}
    assert 10 <= len(shown) < 20
    assert events._left_out == 500 - len(shown)


@pytest.mark.parametrize(
    ("status", "seconds", "last"),
    [("FAILURE", 0.001, "task-failed"), ("SUCCESS", 2 * monitoring.SLOW, "task-succeeded")],
)
def test_above_the_rate_failures_and_slow_tasks_are_shown(status: str, seconds: float, last: str) -> None:
    events = TaskEvents(rate=10)
    events.dispatcher = recorder = Recorder()
    run(events, 500)
    recorder.events.clear()
    (task_id,) = run(events, 1, status, seconds)
    assert recorder.events == [("task-received", task_id), ("task-started", task_id), (last, task_id)]


def test_a_task_that_may_take_long_is_shown_before_it_ends() -> None:
    events = TaskEvents(rate=10)
    events.dispatcher = recorder = Recorder()
    events.begin([("a", b"{}")], may_take_long=True)
    assert recorder.flushes == 1


def test_a_broker_that_is_away_does_not_disturb_the_tasks() -> None:
    class Away(Recorder):
        def send(self, type: str, **fields: Any) -> None:
            raise ConnectionError("away")

        def flush(self) -> None:
            raise ConnectionError("away")

    events = TaskEvents(rate=10)
    events.dispatcher = Away()
    run(events, 3)
    events.flush()


def test_the_allowance_refills_with_time_up_to_a_second_of_it() -> None:
    allowance = Allowance(5, now=0.0)
    assert [allowance.take(0.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert allowance.take(0.2)
    assert not allowance.take(0.2)
    assert [allowance.take(100.0) for _ in range(7)] == [True] * 5 + [False] * 2


def test_a_rate_of_nothing_shows_nothing() -> None:
    events = TaskEvents(rate=0)
    events.dispatcher = recorder = Recorder()
    run(events, 5, "FAILURE")
    assert recorder.events == []
