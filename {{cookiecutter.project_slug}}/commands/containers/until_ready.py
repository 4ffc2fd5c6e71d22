"""Waiting until the containers are ready, and what to say where they do not get so."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from commands.shared import advice, redis_data
from commands.shared.docker import containers, last_lines
from commands.shared.project import CommandError
from commands.shared.readiness import fetch_ready, indented, launch_timeout, worker_states
from commands.shared.stack import PROXIES
from commands.shared.waiting import wait_for

_CRASHES = 3  # a container that Docker started again this often will not get well by waiting
_CHECK_EVERY = 2.0  # seconds between two looks at how often containers were started again


def wait_until_ready(api_url: str) -> None:
    """Wait until the service can predict and the monitor can be opened, showing what it waits for.

    Raises:
        CommandError: with the last error lines, when load_model raised, a service keeps ending, or
            LAUNCH_TIMEOUT has passed.
    """
    limit = launch_timeout()
    next_check = time.monotonic() + _CHECK_EVERY
    document: dict[str, Any] | None = None

    def look() -> str | None:
        nonlocal document, next_check
        document = fetch_ready(api_url)
        waiting_for = _waiting_for(document)
        if waiting_for is None:
            return None
        raise_failed(worker_states(document))
        if time.monotonic() >= next_check:
            _check_crashes()
            next_check = time.monotonic() + _CHECK_EVERY
        return waiting_for

    wait_for(look, limit, lambda waiting_for: _timed_out(document, waiting_for, limit))


def raise_failed(workers: Iterable[tuple[str, str, str]]) -> None:
    """Refuse to wait for workers of which one has an error, as its model does not load."""
    for name, state, error in workers:
        if state == "ERROR":
            raise CommandError(_worker_failed(name, error))


def _waiting_for(document: dict[str, Any] | None) -> str | None:
    """What is not there yet, None when everything is."""
    if document is None:
        return "the API is starting"
    if not document.get("ready"):
        return str(document.get("reason") or "the worker is not ready")
    found = containers()
    for service in ("api", "monitor", *PROXIES):
        if any(container.health == "starting" for container in found.get(service, [])):
            return f"{service} is starting"
    return None


def _worker_failed(name: str, error: str) -> str:
    """What to say of a worker whose model does not load."""
    error = error or last_lines("denzel")
    return (
        f"Worker: {name} - ERROR\n{indented(error)}\n"
        f"The containers stay: {advice.for_containers(error)}. "
        "The whole log: make logs SERVICE=denzel"
    )


def _timed_out(document: dict[str, Any] | None, waiting_for: str, limit: float) -> str:
    service = "api" if document is None else "monitor" if waiting_for.startswith("monitor") else "denzel"
    return (
        f"Not ready within {limit:g} seconds (LAUNCH_TIMEOUT in .env): {waiting_for}\n"
        f"{indented(last_lines(service))}\n"
        f"The containers stay and go on. Look at them: make status, make logs SERVICE={service}"
    )


def _check_crashes() -> None:
    for service, found in containers().items():
        if any(container.restarts >= _CRASHES for container in found):
            if service == "redis" and (cause := redis_data.problem(last_lines(service))):
                raise CommandError(f'{cause}\nThen: "make start".')
            raise CommandError(
                f"The service {service} keeps ending. Its last lines:\n{indented(last_lines(service))}\n"
                'The containers stay: correct this, then run "make restart". '
                f"The whole log: make logs SERVICE={service}"
            )
