"""New code taken up while the service runs, in containers or under ``make dev``: its processes are replaced.

First the workers: if the new code does not load, everything goes on as before. Then the API. Both count their reloads,
so nothing that was there before is taken for the outcome of this one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from commands.shared.project import CommandError
from commands.shared.readiness import api_reloads, fetch_ready, indented, launch_timeout
from commands.shared.screen import say
from commands.shared.waiting import wait_for

Workers = dict[str, dict[str, Any]]  # by name, as /ready tells of them


@dataclass(frozen=True)
class Place:
    """Where the service runs.

    Attributes:
        url: the API's.
        signal: sends SIGHUP to what runs a service (denzel or api).
        last_lines: the end of what a service has printed.
        advise: what to do about an error, a sentence without its full stop.
        tell: is given a line when something else is waited for.
    """

    url: str
    signal: Callable[[str], None]
    last_lines: Callable[[str], str]
    advise: Callable[[str], str]
    tell: Callable[[str], object] = say

    def workers(self) -> Workers | None:
        """The workers; None while nobody can tell."""
        document = fetch_ready(self.url)
        if document is None or document.get("queue") is None:
            return None
        return {worker["name"]: worker for worker in document["workers"]}


def take_up_in_workers(place: Place) -> None:
    """Replace the prediction processes.

    Raises:
        CommandError: with the error, when the new code does not load; what ran before goes on serving.
    """
    before = place.workers() or {}
    place.signal("denzel")

    def look() -> str | None:
        now = place.workers()
        if now is None:
            return "Redis or the API is out of reach"
        left = [name for name, worker in before.items() if _is_loading(worker, now.get(name))]
        replaced = sum(worker["replaced"] for name, worker in now.items() if _has_heard(before.get(name), worker))
        return f"the workers load the new code, {replaced} of their processes have it" if left else None

    _wait(place, look, "denzel")
    for name, worker in (place.workers() or {}).items():
        if worker["reload_error"]:
            raise CommandError(
                f"Worker: {name} - ERROR\n{indented(worker['reload_error'])}\n"
                f"The version from before goes on serving: {place.advise(worker['reload_error'])}. "
                "The whole log: make logs SERVICE=denzel"
            )


def take_up_in_api(place: Place) -> None:
    """Replace the API's processes.

    Raises:
        CommandError: with the API's last lines, when the new ones do not start; what ran before goes on serving.
    """
    before = api_reloads(place.url)
    place.signal("api")

    def look() -> str | None:
        now = api_reloads(place.url)
        done = now is not None and (
            before is None or now.started != before.started or (now.begun > before.begun and now.ended)
        )
        return None if done else "the API loads the new code"

    _wait(place, look, "api")
    now = api_reloads(place.url)
    if before and now and now.started == before.started and now.failed > before.failed:
        raise CommandError(
            f"The API does not start with the new code. Its last lines:\n{indented(place.last_lines('api'))}\n"
            "Its version from before goes on serving, before workers with the new code. "
            "The whole log: make logs SERVICE=api"
        )


def _is_loading(before: dict[str, Any], now: dict[str, Any] | None) -> bool:
    """Whether a worker has still to end this reload; one that has gone, or has started since, has not."""
    if now is None or now["started"] != before["started"]:
        return False
    return now["reloading"] or not _has_heard(before, now)


def _has_heard(before: dict[str, Any] | None, now: dict[str, Any]) -> bool:
    """Whether a worker knows of this reload."""
    return before is not None and now["reloads"] != before["reloads"]


def _wait(place: Place, look: Callable[[], str | None], service: str) -> None:
    """Wait for a service, showing what for; each step, such as the next replaced process, has LAUNCH_TIMEOUT."""
    limit = launch_timeout()

    def timed_out(waiting_for: str) -> str:
        return (
            f"Not within {limit:g} seconds (LAUNCH_TIMEOUT in .env): {waiting_for}\n"
            f"{indented(place.last_lines(service))}\n"
            f"What ran before goes on serving meanwhile. Look at it: make status, make logs SERVICE={service}"
        )

    wait_for(look, limit, timed_out, limit_of_each=True, tell=place.tell)
