"""One prediction process: holds the model, takes messages from the queue, runs the pipeline, stores the answers.

    python -m denzel.worker.process        started by the supervisor, one per core by default

It consumes with Celery's solo pool: the model and the consumer share one process, so that a request crosses no
further pipe; the supervisor keeps watch from outside. A Celery message is a ticket: it says that tasks wait.
"""

from __future__ import annotations

import gc
import logging
import math
import os
import signal
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from celery import bootsteps
from celery.exceptions import CeleryError, SecurityWarning
from celery.worker import state as worker_state
from redis.exceptions import OutOfMemoryError, RedisError

from denzel.pipeline import stages
from denzel.pipeline.batch import BatchRunner, failure
from denzel.pipeline.batch_size import BatchSize
from denzel.processes import die_with_parent
from denzel.queue import store
from denzel.queue.broker import WORK, app, create_terms, send_ticket
from denzel.queue.worker_connection import WorkerRedis
from denzel.settings import Settings, get_settings
from denzel.worker import process_state
from denzel.worker.monitoring import TaskEvents

log = logging.getLogger("denzel.worker")

# Id, status, result and message of a task that has ended.
Ended = tuple[str, str, bytes, bytes]

# Tasks that a process claims at once, at the most: with more, all clients would wait for the same call, and the API
# would have nothing to do meanwhile.
MOST_CLAIMS = 32
# Seconds for which a process works before the consumer gets its turn (remote control, events, reconnecting).
_TURN = 1.0
# When Redis has been full for so long (seconds), answers of more than so many bytes are given up: others wait.
_NO_ROOM = 10.0
_LARGE = 100_000
# Seconds for which a process that ends waits for threads of the user's code.
_LAST_SECONDS = 5.0
# Seconds for which an idle process waits to be handed the next tasks.
_LINGER = 0.2


def main() -> None:
    """Load the model, then consume until told to stop."""
    die_with_parent()
    settings = get_settings()
    logging.basicConfig(
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s[%(process)d]: %(message)s",
    )
    state = process_state.ProcessState.inherited()
    node = os.environ.get("DENZEL_NODE", f"worker@{settings.project_slug}")
    module, model = load(state)
    # Libraries and model stay: looking through all of them for garbage would hold up every task that waits.
    gc.collect()
    gc.freeze()
    try:
        consume(PredictionLoop(module, model, settings, state, node), state, settings, node)
    except SystemExit as end:
        # Threads that user code has started would keep the process for ever, with the tasks that it has claimed.
        timer = threading.Timer(_LAST_SECONDS, os._exit, (end.code,))
        timer.daemon = True
        timer.start()
        raise


def load(state: process_state.ProcessState) -> tuple[ModuleType, Any]:
    """The user's module and the loaded model; tries again for ever, after 1 second, doubling to 60."""
    pause, last = 1.0, ""
    while True:
        if state.state != process_state.ERROR:  # an error stays visible while the next try runs
            state.set(process_state.LOADING)
        began = time.monotonic()
        try:
            module = stages.import_pipeline()
            model = module.load_model()
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            problem = stages.loading_problem(error)
            if problem == last:
                log.error("%s; trying again in %g s", problem, pause)
            else:
                log.error("%s; trying again in %g s\n%s", problem, pause, stages.traceback_of(error))
            last = problem
            state.set(process_state.ERROR, problem)
            time.sleep(pause)
            pause = min(60.0, pause * 2)
        else:
            log.info("load_model returned after %.1f s", time.monotonic() - began)
            return module, model


class SoftTimeLimit:
    """Raises TimeLimitExceeded in the user's code when it runs for longer than so many seconds (0: never).

    Code that does not return to Python is out of its reach; the supervisor's hard limit is not.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        if seconds:
            signal.signal(signal.SIGALRM, self._raise)

    def _raise(self, number: int, frame: Any) -> None:
        raise TimeLimitExceeded(f"timed out after {self._seconds:g} s")

    def __enter__(self) -> None:
        if self._seconds:
            signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def __exit__(self, *exception: object) -> None:
        if self._seconds:
            signal.setitimer(signal.ITIMER_REAL, 0)


class TimeLimitExceeded(Exception):
    """A task ran for longer than allowed."""


class PredictionLoop:
    """Claims tasks, runs them, stores how they ended, and so on while tasks wait."""

    def __init__(
        self, module: ModuleType, model: Any, settings: Settings, state: process_state.ProcessState, node: str
    ) -> None:
        self._state = state
        self._claimant = store.Claimant(os.environ.get("DENZEL_TOKEN") or uuid.uuid4().hex, node)
        self._terms = create_terms(settings)
        self._redis = WorkerRedis(settings.redis_url)
        self._runner = BatchRunner(module, model, settings.max_batch_size, self._watched)
        # Without merging, a task that was claimed early would wait behind another while a process is idle.
        self._size = BatchSize(MOST_CLAIMS if self._runner.merges else 1)
        self._time_limit = SoftTimeLimit(settings.task_soft_time_limit)
        self.events = TaskEvents(settings.monitor_rate / settings.worker_concurrency)
        self._current = ""
        self._ticket_sent = 0.0
        self._last_call = 1.0  # seconds; a guess until one was measured

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Work until nothing waits, or for a moment at most: the consumer has other duties too."""
        until = time.monotonic() + _TURN
        ended: list[Ended] = []
        leaving = False
        while True:
            self._state.tick()
            leaving = leaving or should_stop() or time.monotonic() > until
            claimed, waiting = self._exchange(ended, 0 if leaving else None)
            if not claimed and not leaving:
                handed = self._wait_for_tasks(until)
                if handed is None:  # then once more, to say that nobody waits here any longer
                    leaving = True
                else:
                    claimed, waiting = handed
            elif not claimed:
                if waiting:
                    self._send_ticket()
                return
            elif waiting:
                self._send_ticket(at_most_every=_TURN / 10)
            ended = self._predict(claimed, should_stop) if claimed else []

    def _predict(self, claimed: list[tuple[str, bytes]], should_stop: Callable[[], bool]) -> list[Ended]:
        """Run claimed tasks; how the last ones ended. What is left over when told to stop waits again.

        Whatever has ended is stored before the next call: it can be lost with no process, and nobody waits for others.
        """
        began, left = time.monotonic(), len(claimed)
        parts = self._parts(claimed)
        while True:
            ended = next(parts)
            left -= len(ended)
            if not left or should_stop():
                break
            self._exchange(ended, -1)
        self._size.record(len(claimed) - left, time.monotonic() - began)
        return ended

    def _parts(self, claimed: list[tuple[str, bytes]]) -> Iterator[list[Ended]]:
        """How claimed tasks end, as it comes about."""
        for call in self._runner.calls([request for _, request in claimed]):
            tasks = [claimed[position] for position in call.positions]
            self.events.begin(tasks, may_take_long=self._last_call > 0.1)
            outcomes = self._runner.parts(call)
            while tasks:
                self._current = tasks[0][0]
                began = time.monotonic()
                part = next(outcomes)
                self._last_call = time.monotonic() - began
                these, tasks = tasks[: len(part)], tasks[len(part) :]
                ended = [(task_id, *outcome) for (task_id, _), outcome in zip(these, part, strict=True)]
                self.events.end(these, ended, self._last_call)
                yield ended

    def _wait_for_tasks(self, until: float) -> store.Claimed | None:
        """What is handed over in the next moment: quicker than a turn through the consumer; None when nothing is."""
        seconds = min(_LINGER, until - time.monotonic())
        if seconds < 0.01:
            return None
        try:
            return store.wait_for_tasks(self._redis, self._claimant, seconds)
        except (RedisError, OSError):
            return None

    def _watched(self, module: ModuleType, model: Any, data: Any) -> Any:
        """One call of the pipeline, under the time limits."""
        self._state.begin(self._current)
        try:
            with self._time_limit:
                return stages.predictions(module, model, data)
        finally:
            self._state.end()

    def _send_ticket(self, at_most_every: float = 0.0) -> None:
        """Wake another process through the broker, where the script could not."""
        now = time.monotonic()
        if self._terms.ticket_queue or now - self._ticket_sent < at_most_every:
            return
        self._ticket_sent = now
        try:
            send_ticket()
        except Exception as error:  # kombu's errors are of many kinds; the supervisor's next beat sends one
            log.warning("The broker took no message: %s", error)

    def _exchange(self, ended: list[Ended], most: int | None = None) -> store.Claimed:
        """Store outcomes and claim tasks; repeated until Redis serves, so that no answer is thrown away."""
        claimant, pause = self._claimant, 0.0  # at first none: a connection may have gone stale while it was not used
        full_since: float | None = None
        claimant.most, claimant.share = self._size.limit, self._size.shares
        claimant.quick = self._runner.merges and self._last_call < store.SHORT_CALL
        while True:
            try:
                return store.work(self._redis, self._terms, claimant, ended, most, stay=most is None)
            except (RedisError, OSError) as error:
                if isinstance(error, OutOfMemoryError):
                    full_since = full_since or time.monotonic()
                    if time.monotonic() - full_since > _NO_ROOM:
                        ended = _without_large_answers(ended)
                log.warning("Redis does not serve (%s); trying again in %.1f s", error, pause)
                time.sleep(pause)
                pause = min(5.0, pause * 2 + 0.1)
                self._state.tick()


def _without_large_answers(ended: list[Ended]) -> list[Ended]:
    """The same, where answers that take much room have become failures."""
    reason = "Redis has no room for the answer ({} bytes; REDIS_MAXMEMORY in .env)"
    return [
        (task_id, *failure(MemoryError(reason.format(len(result)))))
        if len(result) > _LARGE
        else (task_id, status, result, message)
        for task_id, status, result, message in ended
    ]


def consume(loop: PredictionLoop, state: process_state.ProcessState, settings: Settings, node: str) -> None:
    """Take tickets from the queue until told to stop by SIGTERM; what runs is finished first."""

    @app.task(name=WORK, ignore_result=True, send_events=False)
    def work() -> None:
        try:
            loop.run(_should_stop)
        except Exception:
            # Not of the pipeline, whose errors are its tasks' own. The same tasks would come again for ever; as with
            # those that kill their process, the supervisor sees to it that they run alone, and gives up the culprit.
            log.exception("Tasks could not be run; this process ends")
            raise SystemExit(1) from None
        loop.events.flush()

    class Pulse(bootsteps.StartStopStep):
        """Tells the supervisor that this process is connected and looks for messages."""

        requires = ("celery.worker.consumer.tasks:Tasks",)

        def start(self, consumer: Any) -> None:
            dispatcher = consumer.event_dispatcher
            # Each turn of the loop flushes what it has to tell; Celery's own way is a message for every few events.
            dispatcher.buffer_limit, dispatcher.on_send_buffered = math.inf, None
            loop.events.dispatcher = dispatcher
            state.set(process_state.READY)
            self._timer = consumer.timer.call_repeatedly(1.0, state.tick)

        def stop(self, consumer: Any) -> None:
            loop.events.dispatcher = None
            state.set(process_state.DISCONNECTED)
            if getattr(self, "_timer", None):
                self._timer.cancel()

    app.steps["consumer"].add(Pulse)
    # A line for each task would cost more than many a model; LOG_LEVEL=debug shows them.
    quiet = logging.INFO if settings.log_level == "debug" else logging.WARNING
    for logger in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(logger).setLevel(quiet)
    # Containers run as an ordinary user; as a plain process it is the user's own choice.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    worker = app.Worker(
        hostname=node,
        pool="solo",
        concurrency=1,
        loglevel=settings.log_level.upper(),
        queues=[store.QUEUE],
        task_events=True,
        without_gossip=True,
        without_mingle=True,
        quiet=True,
    )
    try:
        worker.start()
    except CeleryError:
        log.exception("The consumer stopped")
        raise SystemExit(1) from None
    raise SystemExit(worker.exitcode or 0)


def _should_stop() -> bool:
    """Whether the consumer was told to stop: Celery's signal handlers leave it in these two variables."""
    return any(
        flag is not None and flag is not False for flag in (worker_state.should_stop, worker_state.should_terminate)
    )


if __name__ == "__main__":
    main()
