"""For tests with the pipeline `batched`: tasks that run in one call."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Any

from denzel.processes import is_stopped
from tests.support.services import Service
from tests.support.waiting import eventually


def together(service: Service, *expressions: str, **more: Any) -> list[str]:
    """Tasks that run in one call: they come while the process is frozen, which has learnt before that merging pays."""
    for _ in range(20):
        quick = submit_to_frozen(service, ["0"] * 2 * len(expressions), {})
        for task_id in quick:
            service.wait(task_id)
        if max(int(words[3]) for words in service.events("call")[-len(quick) :]) >= len(expressions):
            break
    before = len(service.events("call"))
    ids = submit_to_frozen(service, list(expressions), more)
    eventually(lambda: len(service.events("call")) > before, "they run")
    assert int(service.events("call")[before][3]) == len(ids), "all in one call"
    return ids


def submit_to_frozen(service: Service, expressions: list[str], more: dict[str, Any]) -> list[str]:
    with frozen_process(service):
        return [service.submit({"data": {"answer": expression}, **more}) for expression in expressions]


@contextlib.contextmanager
def frozen_process(service: Service) -> Iterator[None]:
    """The service's only process does nothing meanwhile, and then claims what waits."""
    eventually(service.predictors, "there is a process")
    service.wait_ready()
    process = eventually(lambda: frozen(service), "it is frozen while nothing is handed to it")
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def frozen(service: Service) -> int | None:
    """The service's process, frozen; None, and it goes on, if it was waiting for the next task just then."""
    [process] = service.predictors()
    os.kill(process, signal.SIGSTOP)
    eventually(lambda: is_stopped(process), "it is frozen")
    if not service.redis.exists("denzel/tested:idle:3"):
        return process
    os.kill(process, signal.SIGCONT)
    return None
