"""One prediction process: holds the model, takes messages from the queue, runs the pipeline, stores the answers.

    python -m app.worker        started by the supervisor, one per core by default

It consumes with Celery's solo pool: the model and the consumer share one process, so that a request crosses no
further pipe; the supervisor keeps watch from outside.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

import redis
from celery import bootsteps
from celery.exceptions import CeleryError, SecurityWarning
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from app import jsonio, process_state, stages, store
from app.celery_app import TASK_NAME, app
from app.settings import Settings, get_settings

log = logging.getLogger("denzel.worker")

T = TypeVar("T")


def main() -> None:
    """Load the model, then consume until told to stop."""
    process_state.die_with_parent()
    settings = get_settings()
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s[%(process)d]: %(message)s"
    )
    state = process_state.ProcessState.inherited()
    name = os.environ.get("DENZEL_NODE", f"worker@{settings.project_slug}")
    module, model = load(state)
    consume(PredictionRunner(module, model, settings, state, name), state, settings, name)


def load(state: process_state.ProcessState) -> tuple[ModuleType, Any]:
    """The user's module and the loaded model; tries again for ever, after 1 second, doubling to 60."""
    pause = 1.0
    while True:
        if state.state != process_state.ERROR:  # an error stays visible while the next try runs
            state.set(process_state.LOADING)
        began = time.monotonic()
        try:
            module = stages.import_pipeline()
            model = module.load_model()
        except (Exception, SystemExit) as error:
            where = "" if isinstance(error, stages.PipelineError) else "load_model raised "
            reason = str(error) if isinstance(error, stages.PipelineError) else stages.describe(error)
            log.exception("%s%s; trying again in %g s", where, reason, pause)
            state.set(process_state.ERROR, where + reason)
            time.sleep(pause)
            pause = min(60.0, pause * 2)
        else:
            log.info("load_model returned after %.1f s", time.monotonic() - began)
            return module, model


class PredictionRunner:
    """Runs the tasks of a message and stores how each ended."""

    def __init__(
        self, module: ModuleType, model: Any, settings: Settings, state: process_state.ProcessState, name: str
    ) -> None:
        self._module = module
        self._model = model
        self._settings = settings
        self._state = state
        self._name = name
        self._redis = redis.Redis.from_url(
            settings.redis_url, socket_timeout=10, socket_connect_timeout=5, retry=Retry(NoBackoff(), 1)
        )

    def run(self, task_ids: list[str], delivery_tag: str) -> None:
        """Run every task that has not ended yet; returns when all outcomes are stored."""
        self._state.begin(delivery_tag)
        try:
            requests = self._insist(lambda: store.claim(self._redis, self._name, task_ids))
            outcomes = [
                (task_id, *self._predict(request))
                for task_id, request in zip(task_ids, requests, strict=True)
                if request is not None
            ]
            if outcomes:
                settings = self._settings
                self._insist(
                    lambda: store.finish(
                        self._redis, outcomes, settings.sync_result_expires, settings.result_expires
                    )
                )
        finally:
            self._state.end()

    def _predict(self, request: bytes) -> tuple[str, bytes, bytes]:
        """Status, result and message of one request."""
        try:
            answer = stages.predictions(self._module, self._model, jsonio.loads(request))
            return "SUCCESS", stages.dumps_predictions(answer), b""
        except (Exception, SystemExit) as error:
            log.warning("A task failed: %s", stages.describe(error), exc_info=True)
            return "FAILURE", jsonio.dumps(stages.result_of(error)), jsonio.dumps(stages.message_of(error))

    def _insist(self, operation: Callable[[], T]) -> T:
        """Repeat until Redis serves: an answer that was computed is not thrown away because Redis is away."""
        pause = 0.1
        while True:
            try:
                return operation()
            except (RedisError, OSError) as error:
                log.warning("Redis does not serve (%s); trying again in %.1f s", error, pause)
                time.sleep(pause)
                pause = min(5.0, pause * 2)


def consume(runner: PredictionRunner, state: process_state.ProcessState, settings: Settings, name: str) -> None:
    """Take messages from the queue until told to stop by SIGTERM; the current one is finished first."""

    @app.task(name=TASK_NAME, bind=True, ignore_result=True)
    def predict(self: Any, task_ids: list[str]) -> None:
        runner.run(task_ids, self.request.properties["delivery_tag"])

    class Pulse(bootsteps.StartStopStep):
        """Tells the supervisor that this process is connected and looks for messages."""

        requires = ("celery.worker.consumer.tasks:Tasks",)

        def start(self, consumer: Any) -> None:
            state.set(process_state.READY)
            self._timer = consumer.timer.call_repeatedly(1.0, state.tick)

        def stop(self, consumer: Any) -> None:
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
        hostname=name,
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


if __name__ == "__main__":
    main()
