"""Where a process counts. A count is one memory write, a measured time two: about a fifth of a microsecond each.

Each number is written by one thread of a process; two that did so at the same time could lose a count.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

from denzel.metrics import machine, pages
from denzel.metrics.layout import (
    BATCH,
    CALLBACK_ATTEMPTS,
    CALLBACK_TRIES,
    CALLBACKS,
    DURATION,
    LOAD_SECONDS,
    LOADS,
    NAMES,
    OWN,
    PID,
    REQUESTS,
    RUNNING,
    STAGE,
    STARTED,
    TITLE,
    TITLES,
    Histogram,
)
from denzel.metrics.pages import Pages

VERIFY, QUEUE, PROCESS, PREDICT, REPLY, CALLBACK = (
    STAGE[name] for name in ("verify", "queue", "process", "predict", "reply", "callback")
)
# A task that has waited for longer (seconds) was run again by hand, long after it had ended.
_LONGEST_WAIT = 100_000.0


class Counts:
    """The numbers of this process; before it has a page of shared memory, they are its own affair.

    Attributes:
        pages: the shared memory.
        verified, queued, processed, had_predicted: called with the seconds that `verify_input` took, that a task
            waited, that `process` and `predict` took.
        predicted: called when a request has been answered with predictions, with when it had come and when they were
            there (`time.perf_counter`).
    """

    def __init__(self) -> None:
        self.pages: Pages | None = None
        self._own: Any = [0.0] * OWN
        self._count_in([0.0] * len(NAMES))

    def use(self, shared: Pages, number: int, title: str) -> None:
        """Count in this page from now; as what this process is known, `layout.TITLES` has."""
        self.pages = shared
        self._own = shared.own(number)
        self._count_in(shared.counted(number))
        for place in range(PID + 1, OWN):
            self._own[place] = 0.0
        found = machine.process(os.getpid())
        self._own[STARTED] = found["started"] if found else 0.0
        self._own[TITLE], self._own[PID] = TITLES.index(title), os.getpid()

    def inherit(self, title: str) -> None:
        """Count in the page that the parent has handed down, if it has."""
        if found := pages.inherited():
            self.use(*found, title)

    def share(self) -> Pages:
        """The shared memory; of a process without one a memory of its own, in which it counts from now."""
        if self.pages is None:
            before = self._values
            self.use(Pages.create(1), 0, "api")
            for place, number in enumerate(before):
                self._values[place] = number
        assert self.pages
        return self.pages

    def _count_in(self, values: Any) -> None:
        self._values = values
        self.verified, self.queued = _observer(values, VERIFY), _observer(values, QUEUE)
        self.processed, self.had_predicted = _observer(values, PROCESS), _observer(values, PREDICT)
        self.ran_tasks = _observer(values, BATCH)
        self.predicted = _observer_of_predictions(values)

    def add(self, place: int) -> None:
        """Count one more."""
        self._values[place] += 1

    def observe(self, histogram: Histogram, number: float) -> None:
        """Count a measured number."""
        values = self._values
        values[histogram.first + bisect_left(histogram.bounds, number)] += 1
        values[histogram.total] += number

    # ---- The API -------------------------------------------------------------------------------------------

    def answered(self, outcome: str, began: float, arrived: float) -> None:
        """A request to /predict has been answered.

        Args:
            outcome: one of `layout.OUTCOMES`.
            began: when it had come (`time.perf_counter`).
            arrived: when its outcome was there; 0: it had none.
        """
        self._values[REQUESTS[outcome]] += 1
        if arrived:
            now = time.perf_counter()
            self.observe(REPLY, now - arrived)
            self.observe(DURATION, now - began)

    # ---- The pipeline --------------------------------------------------------------------------------------

    def waited(self, task_ids: Sequence[str]) -> None:
        """Tasks that have waited in the queue begin; since when, their ids tell, to the millisecond below."""
        now = time.time() - 0.0005
        for task_id in task_ids:
            try:
                seconds = now - int(task_id[:8] + task_id[9:13], 16) / 1000
            except ValueError:
                continue
            if seconds < _LONGEST_WAIT:
                self.observe(QUEUE, max(0.0, seconds))

    def run(self, tasks: int) -> None:
        """A call of so many tasks begins."""
        self._own[RUNNING] = tasks

    def ran(self, tasks: int) -> None:
        """A call of so many tasks has ended."""
        self._own[RUNNING] = 0.0
        self.ran_tasks(tasks)

    def called(self, process: float, predict: float) -> None:
        """The pipeline was called: seconds of each stage; 0: it did not come to that one."""
        self.processed(process)
        if predict:
            self.had_predicted(predict)

    def loaded(self, seconds: float) -> None:
        """The model has been loaded."""
        self._own[LOAD_SECONDS] = seconds
        self.add(LOADS["done"])

    def not_loaded(self) -> None:
        """Loading it has failed."""
        self.add(LOADS["failed"])

    # ---- Callbacks -----------------------------------------------------------------------------------------

    def called_back(self, delivered: bool, seconds: float) -> None:
        """A callback has been tried."""
        self.add(CALLBACK_ATTEMPTS["delivered" if delivered else "failed"])
        self.observe(CALLBACK, seconds)

    def delivery(self, state: str, attempts: int) -> None:
        """How a callback stands after an attempt: once it is delivered or given up, it counts."""
        if state in CALLBACKS:
            self.add(CALLBACKS[state])
            self.observe(CALLBACK_TRIES, attempts)


def _observer(values: Any, histogram: Histogram) -> Callable[[float], None]:
    """What counts a measured number there: a closure, as that spares a third of the time, on each request's way."""
    first, bounds, total = histogram.first, histogram.bounds, histogram.total

    def observe(number: float) -> None:
        values[first + bisect_left(bounds, number)] += 1
        values[total] += number

    return observe


def _observer_of_predictions(values: Any) -> Callable[[float, float], None]:
    first_reply, reply_total = REPLY.first, REPLY.total
    first_duration, duration_total, bounds = DURATION.first, DURATION.total, DURATION.bounds
    clock, success = time.perf_counter, REQUESTS["success"]

    def predicted(began: float, arrived: float) -> None:
        now = clock()
        values[success] += 1
        arrived = now - arrived
        values[first_reply + bisect_left(bounds, arrived)] += 1
        values[reply_total] += arrived
        began = now - began
        values[first_duration + bisect_left(bounds, began)] += 1
        values[duration_total] += began

    return predicted


COUNTS = Counts()
