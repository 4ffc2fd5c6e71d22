"""One prediction process: holds the model, takes messages from the queue, runs the pipeline, stores the answers.

    python -m denzel.worker.process        started by the supervisor, one per core by default

It consumes with Celery's solo pool: the model and the consumer share one process, so that a request crosses no
further pipe; the supervisor keeps watch from outside. A Celery message is a ticket: it says that tasks wait.
"""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
from types import ModuleType
from typing import Any

from denzel import card
from denzel.edits import Edits
from denzel.log.configure import WITH_PROCESS, configure
from denzel.metrics.counts import COUNTS
from denzel.pipeline import errors, loading
from denzel.processes import die_with_parent
from denzel.settings import get_settings
from denzel.threads import limit_torch
from denzel.tracing import switch
from denzel.worker import process_state
from denzel.worker.consumer import consume
from denzel.worker.loop import PredictionLoop

log = logging.getLogger("denzel.worker")


# Seconds for which a process that ends waits for threads of the user's code.
_LAST_SECONDS = 5.0


def main() -> None:
    """Load the model, then consume until told to stop."""
    die_with_parent()
    COUNTS.inherit("prediction")
    settings = get_settings()
    configure(settings, "denzel", text=WITH_PROCESS)
    spans = switch.start(settings, "denzel")
    state = process_state.ProcessState.inherited()
    node = os.environ.get("DENZEL_NODE", f"worker@{settings.project_slug}")
    module, model, version = load(state)
    state.set_version(version)
    # Libraries and model stay: looking through all of them for garbage would hold up every task that waits.
    gc.collect()
    gc.freeze()
    try:
        consume(PredictionLoop(module, model, settings, state, node, version, spans), state, settings, node)
    except SystemExit as end:
        # Threads that user code has started would keep the process for ever, with the tasks that it has claimed.
        timer = threading.Timer(_LAST_SECONDS, os._exit, (end.code,))
        timer.daemon = True
        timer.start()
        spans.stop()
        raise


def load(state: process_state.ProcessState) -> tuple[ModuleType, Any, str]:
    """The user's module, the model, its version; tried again for ever: after an edit, or 1 second, doubling to 60.

    A process that is held has imported the module and waits with the model until it is told to go on.
    """
    pause, last = 1.0, ""
    while True:
        edits = Edits()
        if state.state != process_state.ERROR:  # an error stays visible while the next try runs
            state.set(process_state.LOADING)
        began = time.monotonic()
        try:
            module = loading.import_pipeline()
            limit_torch()
            if state.is_held:
                while state.is_held:
                    time.sleep(0.02)
                if edits.in_code():  # meanwhile
                    continue
            model, version = card.load(module.load_model)
            limit_torch()
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            problem = loading.loading_problem(error)
            if problem == last:
                log.error("%s; trying again in %g s", problem, pause)
            else:
                log.error("%s; trying again in %g s\n%s", problem, pause, errors.traceback_of(error))
            last = problem
            COUNTS.not_loaded()
            state.set(process_state.ERROR, problem)
            edited = edits.in_code() or edits.wait(pause)
            pause = 1.0 if edited else min(60.0, pause * 2)
        else:
            COUNTS.loaded(time.monotonic() - began)
            log.info("load_model returned after %.1f s", time.monotonic() - began)
            return module, model, version


if __name__ == "__main__":
    main()
