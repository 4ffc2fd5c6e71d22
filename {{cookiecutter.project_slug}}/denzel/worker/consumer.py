"""The Celery consumer of a prediction process: it takes tickets from the queue until told to stop.

It consumes with Celery's solo pool: the model and the consumer share one process, so that a request crosses no
further pipe; the supervisor keeps watch from outside. A Celery message is a ticket: it says that tasks wait.
"""

from __future__ import annotations

import logging
import math
import warnings
from typing import Any

from celery import bootsteps
from celery.exceptions import CeleryError, SecurityWarning
from celery.worker import state as worker_state

from denzel.queue import keys
from denzel.queue.broker import app
from denzel.queue.ticket import WORK
from denzel.settings import Settings
from denzel.worker import process_state
from denzel.worker.loop import PredictionLoop

log = logging.getLogger("denzel.worker")


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
            self._timer = consumer.timer.call_repeatedly(1.0, loop.tick)
            if loop.descriptor is not None:
                consumer.hub.add_reader(loop.descriptor, work)

        def stop(self, consumer: Any) -> None:
            loop.events.dispatcher = None
            state.set(process_state.DISCONNECTED)
            if loop.descriptor is not None:
                consumer.hub.remove(loop.descriptor)
            if getattr(self, "_timer", None):
                self._timer.cancel()

    app.steps["consumer"].add(Pulse)
    worker = _create_worker(settings, node)
    try:
        worker.start()
    except CeleryError:
        log.exception("The consumer stopped")
        raise SystemExit(1) from None
    finally:
        loop.close()
    raise SystemExit(worker.exitcode or 0)


def _create_worker(settings: Settings, node: str) -> Any:
    # A line for each task would cost more than many a model; LOG_LEVEL=debug shows them.
    quiet = logging.INFO if settings.log_level == "debug" else logging.WARNING
    for logger in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(logger).setLevel(quiet)
    # Containers run as an ordinary user; as a plain process it is the user's own choice.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    return app.Worker(
        hostname=node,
        pool="solo",
        concurrency=1,
        loglevel=settings.log_level.upper(),
        queues=[keys.QUEUE],
        task_events=True,
        without_gossip=True,
        without_mingle=True,
        quiet=True,
    )


def _should_stop() -> bool:
    """Whether the consumer was told to stop: Celery's signal handlers leave it in these two variables."""
    return any(
        flag is not None and flag is not False for flag in (worker_state.should_stop, worker_state.should_terminate)
    )
