"""What the monitor sees: Celery's task events under each task's own id, no more of them than it can digest.

Flower spends about half a millisecond of CPU on a task. Up to MONITOR_RATE tasks a second are all shown; above that
a sample, and every task that failed or took long. How many were left out is said in the log.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from typing import Any, Protocol

from celery.worker.state import SOFTWARE_INFO

from denzel.queue.broker import PREDICT, app

log = logging.getLogger("denzel.worker")

# A task that took longer than this (seconds) is always shown.
SLOW = 1.0
# Characters that are shown of a request, a result or an error.
SHOWN = 200
# In the place of a request and a result.
HIDDEN = "not shown (MONITOR_SHOWS_DATA=off)"
# Where more than _MOST_REFUSED of all tasks cannot be shown, no more than _SAMPLE of the rate are.
_MOST_REFUSED, _SAMPLE = 0.75, 0.2
# Celery's own interval (seconds).
HEARTBEAT_EVERY = 2.0
# What was left out is said at most this often (seconds).
_SAY_EVERY = 60.0


class EventSender(Protocol):
    """Celery's event dispatcher, as far as it is used here."""

    def send(self, type: str, **fields: Any) -> None: ...

    def flush(self) -> None: ...


class Allowance:
    """A rate (events a second), with as many at once after a pause (a token bucket).

    Where most are refused anyway, some more are: a small sample shows as much as a large one, and costs less.
    """

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._left = rate
        self._time = now
        self._refused = 0.0  # a moving part of those that were asked for

    def take(self, now: float) -> bool:
        """Whether one more is allowed at this time (seconds)."""
        rate = self._rate * (1.0 if self._refused < _MOST_REFUSED else _SAMPLE)
        self._left = min(self._rate, self._left + (now - self._time) * rate)
        self._time = now
        self._refused += ((self._left < 1) - self._refused) / max(self._rate, 16)
        if self._left < 1:
            return False
        self._left -= 1
        return True


class TaskEvents:
    """Sends the events of one process's tasks.

    Args:
        rate: tasks a second that are all shown.
        shows_data: whether requests and predictions are shown with them; else nobody is told of these.
    """

    def __init__(self, rate: float, shows_data: bool = False) -> None:
        self._shows_data = shows_data
        self.dispatcher: EventSender | None = None
        self._all = Allowance(rate, time.monotonic())
        self._failures = Allowance(rate, time.monotonic())
        self._shown: set[str] = set()
        self._left_out = 0
        self._said = time.monotonic()

    def begin(self, tasks: Sequence[tuple[str, bytes]], may_take_long: bool) -> None:
        """Tasks (id, request) are about to run."""
        self._shown.clear()
        now, clock = time.monotonic(), time.time()
        for task_id, request in tasks:
            if self._all.take(now):
                self._shown.add(task_id)
                self._send_start(task_id, request, clock)
        if may_take_long and self._shown:
            self.flush()

    def end(self, tasks: Sequence[tuple[str, bytes]], ended: Sequence[tuple[Any, ...]], seconds: float) -> None:
        """Tasks have run; `ended` holds an `EndedTask` of each, in the same order."""
        now, clock = time.monotonic(), time.time()
        for (task_id, request), ending in zip(tasks, ended, strict=True):
            _, status, result, message = ending[:4]
            failed = status == "FAILURE"
            if task_id not in self._shown:
                if not (failed or seconds > SLOW) or not self._failures.take(now):
                    self._left_out += 1
                    continue
                self._send_start(task_id, request, clock - seconds)
            if status == "REVOKED":  # cancelled while it ran
                self._send("task-revoked", task_id, clock, terminated=True, signum=None, expired=False)
            elif failed:
                self._send("task-failed", task_id, clock, exception=_short(message.strip(b'"')), traceback="")
            else:
                self._send("task-succeeded", task_id, clock, result=self._data(result), runtime=seconds)
        if self._left_out and now - self._said > _SAY_EVERY:
            log.info("%d tasks were not shown in the monitor (MONITOR_RATE)", self._left_out)
            self._left_out, self._said = 0, now

    def flush(self) -> None:
        """Send what is buffered; a broker that is away only costs events."""
        if self.dispatcher:
            try:
                self.dispatcher.flush()
            except Exception as error:  # kombu's errors are of many kinds; predictions go on without the monitor
                log.debug("Events were not sent: %s", error)

    def _send_start(self, task_id: str, request: bytes, clock: float) -> None:
        self._send(
            "task-received", task_id, clock,
            name=PREDICT, args=self._data(request), kwargs="{}", retries=0, eta=None, expires=None,
            root_id=task_id, parent_id=None,
        )  # fmt: skip
        self._send("task-started", task_id, clock)

    def _data(self, text: bytes) -> str:
        return _short(text) if self._shows_data else HIDDEN

    def _send(self, event: str, task_id: str, clock: float, **fields: Any) -> None:
        if self.dispatcher:
            try:
                self.dispatcher.send(event, uuid=task_id, timestamp=clock, **fields)
            except Exception as error:
                log.debug("An event was not sent: %s", error)


class BusyHeartbeats:
    """Celery's heartbeats for processes that compute and cannot send their own: the monitor would call them offline.

    Blocks while it sends; to be used from one thread.
    """

    def __init__(self) -> None:
        self._connection: Any = None
        self._dispatchers: dict[str, Any] = {}

    def send(self, busy: Sequence[tuple[str, int]]) -> None:
        """Say that these nodes (name, process id) are at work; a broker that is away is tried again next time."""
        try:
            if self._connection is None:
                self._connection = app.connection_for_write()
            for node, pid in busy:
                if node not in self._dispatchers:
                    self._dispatchers[node] = app.events.Dispatcher(self._connection, hostname=node)
                self._dispatchers[node].pid = pid
                self._dispatchers[node].send(
                    "worker-heartbeat", freq=HEARTBEAT_EVERY, active=1, loadavg=os.getloadavg(), **SOFTWARE_INFO
                )
        except Exception as error:  # kombu's errors are of many kinds
            log.debug("No heartbeat was sent to the monitor: %s", error)
            self._connection, self._dispatchers = None, {}


def _short(text: bytes) -> str:
    return text[:SHOWN].decode(errors="replace") + ("..." if len(text) > SHOWN else "")
