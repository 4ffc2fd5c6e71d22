"""Cancelling softly: which signal raises, and what kills may cost."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from denzel.pipeline.errors import TaskCancelled
from denzel.worker.cancelling import Budget
from denzel.worker.process_state import ProcessState
from denzel.worker.soft_cancel import SIGNAL, SoftCancel


@pytest.fixture
def state() -> Iterator[ProcessState]:
    state = ProcessState.create()
    yield state
    state.close()


def tell(state: ProcessState, task_id: str) -> None:
    """What the supervisor does."""
    state.cancel(task_id)
    os.kill(os.getpid(), SIGNAL)


def test_the_cancelled_task_gets_the_exception_which_is_no_ordinary_one(state: ProcessState) -> None:
    cancel = SoftCancel(state)
    state.begin("task-1")
    with pytest.raises(TaskCancelled), cancel:
        tell(state, "task-1")
    assert not issubclass(TaskCancelled, Exception)


@pytest.mark.parametrize("cancelled", ["task-2", "task-10", "task", ""])
def test_no_other_task_gets_it(state: ProcessState, cancelled: str) -> None:
    cancel = SoftCancel(state)
    state.begin("task-1")
    with cancel:
        tell(state, cancelled)


def test_tasks_that_run_together_do_not_get_it(state: ProcessState) -> None:
    cancel = SoftCancel(state)
    state.begin("task-1", alone=False)
    with cancel:
        tell(state, "task-1")


def test_outside_of_user_code_nothing_is_raised(state: ProcessState) -> None:
    cancel = SoftCancel(state)
    state.begin("task-1")
    tell(state, "task-1")
    with cancel:
        pass
    tell(state, "task-1")


def test_kills_cost_no_more_than_their_part_of_the_time() -> None:
    budget = Budget(0.1, now=0.0)
    taken = sum(budget.take(second / 10, cost=2.0, processes=2) for second in range(1000))
    assert taken == 3 + 9  # three at once; a tenth of 100 s of two processes is ten times 2 s, the last of them to come


def test_a_budget_does_not_grow_without_bound() -> None:
    budget = Budget(0.5, now=0.0)
    assert [budget.take(1e6, cost=1.0, processes=1) for _ in range(5)] == [True] * 3 + [False] * 2


def test_without_a_budget_nothing_is_killed() -> None:
    assert not Budget(0.0, now=0.0).take(1e9, cost=0.0, processes=8)
