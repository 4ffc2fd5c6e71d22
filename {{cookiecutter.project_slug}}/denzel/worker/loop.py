"""The work of a prediction process: claim tasks, run them, store how they ended, and so on while tasks wait."""

from __future__ import annotations

import logging
import math
import os
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

from redis.exceptions import OutOfMemoryError, RedisError

from denzel.direct.door import DirectTask, Door
from denzel.direct.frames import SHORT
from denzel.direct.place import Place, folder_of
from denzel.log import about
from denzel.log.sample import Sample
from denzel.metrics.counts import COUNTS
from denzel.pipeline import stages
from denzel.pipeline.batch import BatchRunner, failure
from denzel.pipeline.batch_size import BatchSize
from denzel.pipeline.speed import Speed
from denzel.queue import claims, keys, large
from denzel.queue.broker import send_ticket
from denzel.queue.ticket import queue_settings
from denzel.queue.worker_connection import WorkerConnection
from denzel.record import EndedTask
from denzel.settings import Settings
from denzel.timings import UNKNOWN, CallTimes
from denzel.tracing.spans import NO_SPANS, Spans
from denzel.worker import process_state
from denzel.worker.ends import tell_ends
from denzel.worker.hand import Hand
from denzel.worker.monitoring import TaskEvents
from denzel.worker.soft_cancel import SoftCancel
from denzel.worker.time_limit import SoftTimeLimit

log = logging.getLogger("denzel.worker")

# Tasks that a process claims at once, at the most.
MOST_CLAIMS = 128
# Seconds for which a process works before the consumer gets its turn (remote control, events, reconnecting).
_TURN = 1.0
# When Redis has been full for _NO_ROOM seconds, answers of more than _LARGE bytes are given up: others wait.
_NO_ROOM = 10.0
_LARGE = 100_000
# Seconds for which an idle process waits to be handed the next tasks.
_LINGER = 0.2
# A direct task that took longer (seconds) may have got a record meanwhile, as if it had been claimed.
_MAY_BE_KNOWN = 0.05
# An idle process that gets a task directly tells Redis when its calls take longer (seconds); it takes 0.4 ms.
_LONG = 0.02
# The monitor is told at once of tasks that may take longer (seconds).
_SLOW = 0.1
# No task waits for others where a call's start takes less (seconds) than eight times this.
_NO_TIME = 0.0002
# Seconds for which tasks of the queue let pass what an API process is about to send.
_PRECEDENCE = 0.02


class PredictionLoop:
    """Claims tasks, runs them, stores how they ended, and so on while tasks wait."""

    def __init__(
        self,
        module: ModuleType,
        model: Any,
        settings: Settings,
        state: process_state.ProcessState,
        node: str,
        version: str = "",
        spans: Spans = NO_SPANS,
    ) -> None:
        self._state = state
        self._spans = spans
        self._sample = Sample(log, settings.log_sample / settings.worker_concurrency, "ends of tasks")
        token = os.environ.get("DENZEL_TOKEN") or uuid.uuid4().hex
        self._claimant = claims.Claimant(token, node, model=version)
        self._queue_settings = queue_settings(settings)
        self._redis = WorkerConnection(settings.redis_url)
        self._runner = BatchRunner(module, model, settings.max_batch_size, self._watched)
        # Without merging, a task that was claimed early would wait behind another while a process is idle.
        limits = [limit for limit in (settings.task_soft_time_limit, settings.task_time_limit) if limit]
        longest = min(limits, default=math.inf) / 4  # some tasks take longer than others
        self._size = BatchSize(MOST_CLAIMS if self._runner.merges else 1, longest)
        self._speed = Speed()
        self._cycle: tuple[int, float, bool] | None = None  # tasks that are not stored yet: see `_measure`
        self._door = _open_door(settings, token, node, version, self._runner.merges)
        self._hand = Hand(settings.redis_url, self._claimant, self._door)
        self._claims_are_left = False  # of tasks that are not going to be run here
        self._given_since = 0.0
        self._told_busy = False
        self._together = 1.0  # how many tasks a call had lately that came directly
        self._time_limit = SoftTimeLimit(settings.task_soft_time_limit)
        self._cancel = SoftCancel(state)
        shows_data = settings.monitor_shows_data == "on"
        self.events = TaskEvents(settings.monitor_rate / settings.worker_concurrency, shows_data)
        self._current = ""
        self._ticket_sent = 0.0
        self._last_call = 1.0  # seconds; a guess until one was measured

    @property
    def descriptor(self) -> int | None:
        """Readable when there is something to `run`, besides tickets."""
        return self._door.fileno() if self._door else None

    def tick(self) -> None:
        """What is due once a second while there is nothing to run."""
        self._state.tick()
        self._sample.tell(time.monotonic())

    def close(self) -> None:
        """Take nothing more directly."""
        if self._door:
            self._door.close()

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Work until nothing waits, or for a moment at most: the consumer has other duties too."""
        until = time.monotonic() + _TURN
        leaving = False
        ended = self._serve(should_stop)
        while True:
            self._state.tick()
            leaving = leaving or should_stop() or time.monotonic() > until
            if self._claimant.listed and not (ended or leaving or self._claims_are_left):
                handed = self._wait_for_tasks(until)
                if handed is None:  # then once more, to say that nobody waits here any longer
                    leaving = True
                    continue
                claimed, waiting = handed
            elif self._door and not (ended or leaving) and self._is_given_slow_work():
                self._door.wait(0.001)
                claimed = []
            else:
                claimed, waiting = self._store(ended, 0 if leaving else None)
                ended, self._claims_are_left = [], False
                if not (claimed or waiting):
                    self._tell_busy(False)
                if leaving:
                    if waiting:
                        self._send_ticket()
                    return
            if claimed and (claimed := self._with_large_requests(claimed)):
                if waiting:
                    self._send_ticket(at_most_every=_TURN / 10)
                self._cycle = len(claimed), time.monotonic(), waiting > 0
                ended = self._predict(claimed, should_stop)
            if self._door and not leaving and self._door.has_tasks():  # in turns: neither way holds up the other
                if ended:
                    self._store(ended, -1)
                ended = self._serve(should_stop)

    def _with_large_requests(self, claimed: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        """Claimed tasks with those of their requests that lie beside their records."""
        try:
            claimed, lost = large.complete(self._redis, claimed)
        except (RedisError, OSError) as error:
            log.warning("Redis does not serve (%s); what was claimed waits again", error)
            self._claims_are_left = True
            return []
        if lost:  # most have been cancelled in this moment
            self._exchange([(task_id, *failure(LookupError(large.LOST)), UNKNOWN) for task_id in lost], -1)
        return claimed

    def _store(self, ended: list[EndedTask], most: int | None) -> claims.Claimed:
        """Store outcomes, claim tasks, and tell the supervisor how fast this process works."""
        found = self._exchange(ended, most)
        if ended and self._cycle:
            self._measure(*self._cycle)
            self._cycle = None
        return found

    def _serve(self, should_stop: Callable[[], bool]) -> list[EndedTask]:
        """Run tasks that have come directly, those of one call; what is to be stored of them."""
        if self._door is None or should_stop():
            return []
        if self._last_call >= _LONG and self._claimant.listed and self._door.has_tasks():
            self._exchange([], 0)  # nobody else's task shall wait behind this call
        tasks = self._door.take(self._size.plan.portion)
        self._claims_are_left = self._claims_are_left or self._door.lost
        self._door.lost = False
        if not tasks:
            return []
        self._gather(self._door, tasks)
        self._door.tell_call(len(tasks))
        began, to_store = time.monotonic(), []
        by_id = {task.id: task for task in tasks}
        # Tasks of the queue have just come from Redis. These must not wait for one that is frozen.
        told_at_once = self._last_call > _SLOW and self._redis.answers(0.1)
        origins = {task.id: task.origin for task in tasks if task.origin}
        for part in self._parts([(task.id, task.request) for task in tasks], origins, told_at_once):
            in_next = self._size.plan.portion(MOST_CLAIMS)
            tasks_of = [by_id[task_id] for task_id, *_ in part]
            untold = self._door.answer(tasks_of, part, self._last_call, in_next, part[0][-1])
            to_store += part if time.monotonic() - began > _MAY_BE_KNOWN else untold
            if should_stop():
                break  # the others go through the queue
        else:
            self._size.record(len(tasks), time.monotonic() - began)
            self._measure(len(tasks), began, self._door.waiting > 0)
        return to_store

    def _gather(self, door: Door, tasks: list[DirectTask]) -> None:
        """Let tasks that come in this moment join, where calls had more lately and their start is what they take.

        Clients that were answered together ask again together, yet not all at the same instant.
        """
        moment = self._size.expected(0) / 8
        until = time.monotonic() + 3 * moment
        while moment > _NO_TIME and len(tasks) < self._together and time.monotonic() < until:
            began, had = time.monotonic(), len(tasks)
            door.wait(moment)
            tasks += door.take(partial(self._portion_besides, had))
            arrivals = (len(tasks) - had) / max(time.monotonic() - began, 1e-5)
            if not self._size.worth_waiting(len(tasks), arrivals):
                break
        self._together = max(float(len(tasks)), 0.7 * self._together)

    def _portion_besides(self, taken: int, waiting: int) -> int:
        return self._size.plan.portion(taken + waiting) - taken

    def _tell_busy(self, busy: bool) -> None:
        """Let API processes know whether slow tasks of the queue run here or wait: others have to queue up, too."""
        if self._door and busy != self._told_busy:
            self._door.set_busy(busy)
            self._told_busy = busy

    def _is_given_slow_work(self) -> bool:
        """Whether an API process has chosen this process for a call that is not short: it has precedence, briefly."""
        if not self._door or self._told_busy or self._last_call < SHORT or not self._door.has_slow_work():
            self._given_since = 0.0
            return False
        self._given_since = self._given_since or time.monotonic()
        return time.monotonic() - self._given_since < _PRECEDENCE

    def _measure(self, tasks: int, began: float, left_waiting: bool) -> None:
        """Tell the supervisor how fast this process works."""
        self._speed.record(tasks, time.monotonic() - began, self._size.plan.most, left_waiting)
        self._state.set_speed(self._speed.tasks_per_second, self._speed.seconds_per_call)

    def _predict(self, claimed: list[tuple[str, bytes]], should_stop: Callable[[], bool]) -> list[EndedTask]:
        """Run claimed tasks; how the last ones ended. What is left over when told to stop waits again.

        Whatever has ended is stored before the next call: it can be lost with no process, and nobody waits for others.
        """
        COUNTS.waited([task_id for task_id, _ in claimed])
        began, left = time.monotonic(), len(claimed)
        self._tell_busy(self._last_call >= SHORT)
        origins = self._claimant.origins
        parts = self._parts(claimed, origins, self._last_call > _SLOW)
        while True:
            ended = next(parts)
            tell_ends(self._sample, ended, origins, self._last_call)
            left -= len(ended)
            if not left or should_stop():
                break
            self._exchange(ended, -1)
        self._size.record(len(claimed) - left, time.monotonic() - began)
        return ended

    def _parts(
        self, claimed: list[tuple[str, bytes]], origins: dict[str, str], told_at_once: bool
    ) -> Iterator[list[EndedTask]]:
        """How claimed tasks end, as it comes about.

        Args:
            origins: where they come from, as far as that is known.
            told_at_once: the monitor is told as they begin.
        """
        for call in self._runner.calls([request for _, request in claimed], [task_id for task_id, _ in claimed]):
            tasks = [claimed[position] for position in call.positions]
            self.events.begin(tasks, may_take_long=told_at_once)
            outcomes = self._runner.parts(call)
            while tasks:
                self._current = tasks[0][0]
                about.PROCESS.about = [(task_id, origins.get(task_id, "")) for task_id, _ in tasks]
                COUNTS.run(len(tasks))
                began = time.monotonic()
                part = next(outcomes)
                self._last_call = time.monotonic() - began
                COUNTS.ran(len(part))
                about.PROCESS.about = ()
                these, tasks = tasks[: len(part)], tasks[len(part) :]
                watch = self._runner.watch
                times = CallTimes(watch.process, watch.predict, len(part), self._last_call)
                ended = [(task_id, *outcome, times) for (task_id, _), outcome in zip(these, part, strict=True)]
                self.events.end(these, ended, self._last_call)
                yield ended

    def _wait_for_tasks(self, until: float) -> claims.Claimed | None:
        """What is handed over in the next moment: quicker than a turn through the consumer; None when nothing is."""
        seconds = min(_LINGER, until - time.monotonic())
        if seconds < 0.01:
            return None
        try:
            return self._hand.wait(seconds)
        except (RedisError, OSError):
            return None

    def _watched(self, module: ModuleType, model: Any, data: Any) -> Any:
        """One call of the pipeline, under the time limits."""
        whose = about.current()
        self._state.begin(self._current, len(whose) == 1)
        if self._door:
            self._door.tell_running(True)
        watch = self._runner.watch
        watch.start()  # whatever comes before it does by itself
        try:
            with self._spans.call(whose, watch), self._time_limit, self._cancel:
                return stages.predictions(module, model, data, watch)
        finally:
            self._state.end()
            if self._door:
                self._door.tell_running(False)
            COUNTS.called(watch.process, watch.predict)

    def _send_ticket(self, at_most_every: float = 0.0) -> None:
        """Wake another process through the broker, where the script could not."""
        now = time.monotonic()
        if self._queue_settings.ticket_queue or now - self._ticket_sent < at_most_every:
            return
        self._ticket_sent = now
        try:
            send_ticket()
        except Exception as error:  # kombu's errors are of many kinds; the supervisor's next beat sends one
            log.warning("The broker took no message: %s", error)

    def _exchange(self, ended: list[EndedTask], most: int | None = None) -> claims.Claimed:
        """Store outcomes and claim tasks; repeated until Redis serves, so that no answer is thrown away."""
        claimant, pause = self._claimant, 0.0  # at first none: a connection may have gone stale while it was not used
        full_since: float | None = None
        claimant.most, claimant.at_once, claimant.ratio = self._size.plan
        claimant.quick = self._runner.merges and self._last_call < keys.SHORT_CALL
        while True:
            try:
                self._hand.let_go(self._redis)
                return claims.work(self._redis, self._queue_settings, claimant, ended, most, stay=most is None)
            except (RedisError, OSError) as error:
                if isinstance(error, OutOfMemoryError):
                    full_since = full_since or time.monotonic()
                    if time.monotonic() - full_since > _NO_ROOM:
                        ended = _without_large_answers(ended)
                log.warning("Redis does not serve (%s); trying again in %.1f s", error, pause)
                time.sleep(pause)
                pause = min(5.0, pause * 2 + 0.1)
                self._state.tick()


def _open_door(settings: Settings, token: str, node: str, version: str, merges: bool) -> Door | None:
    """Where tasks come directly; None where they do not."""
    folder = folder_of(settings)
    try:
        return Door(Place(folder), token, node, merges, version) if folder else None
    except OSError as error:
        log.warning("Tasks cannot be handed over directly, all of them go through the queue: %s", error)
        return None


def _without_large_answers(ended: list[EndedTask]) -> list[EndedTask]:
    """The same, where answers that take much room have become failures."""
    reason = "Redis has no room for the answer ({} bytes; REDIS_MAXMEMORY in .env)"
    return [
        (task_id, *failure(MemoryError(reason.format(len(result)))), times)
        if len(result) > _LARGE
        else (task_id, status, result, message, times)
        for task_id, status, result, message, times in ended
    ]
