"""New code taken up while the service runs: its processes are replaced, its containers and sockets stay.

First the workers: if the new code does not load, everything goes on as before. Then the API. Both count their reloads,
so nothing that was there before is taken for the outcome of this one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from commands.shared import advice
from commands.shared.docker import Container, docker, last_lines
from commands.shared.project import CommandError
from commands.shared.readiness import api_reloads, fetch_ready, indented, launch_timeout
from commands.shared.screen import say
from commands.shared.waiting import wait_for

Workers = dict[str, dict[str, Any]]  # by name, as /ready tells of them

_OTHERS = 10.0  # seconds for a reload of the API that somebody else has asked for


def possible(found: dict[str, list[Container]], url: str) -> bool:
    """Whether everything that runs the project's code is up, and can replace its processes by itself."""
    wait_for(lambda: "" if (api := api_reloads(url)) and not api.ended else None, _OTHERS)
    api, document = api_reloads(url), fetch_ready(url)
    if document is None or not document.get("ready") or api is None or not api.ended:
        return False
    containers, workers = found.get("denzel", []), document["workers"]
    return (
        len(workers) == len(containers)
        and all(container.state == "running" for container in [*containers, *found.get("api", [])])
        and all(worker["state"] == "UP" and worker.get("started") for worker in workers)
    )


def replace_processes(found: dict[str, list[Container]], url: str) -> None:
    """Let the project's code of now take over.

    Raises:
        CommandError: with the error, when it does not load; what ran before goes on serving.
    """
    say("Taking up the code in app/ while the service runs")
    _reload_workers(found["denzel"], url)
    _reload_api(found["api"], url)


def _reload_workers(containers: list[Container], url: str) -> None:
    before = _workers(url) or {}
    _signal(containers)

    def look() -> str | None:
        now = _workers(url)
        if now is None:
            return "Redis or the API is out of reach"
        left = [name for name, worker in before.items() if _is_loading(worker, now.get(name))]
        replaced = sum(worker["replaced"] for name, worker in now.items() if _has_heard(before.get(name), worker))
        return f"the workers load the new code, {replaced} of their processes have it" if left else None

    _wait(look, "denzel")
    for name, worker in (_workers(url) or {}).items():
        if worker["reload_error"]:
            raise CommandError(
                f"Worker: {name} - ERROR\n{indented(worker['reload_error'])}\n"
                f"The version from before goes on serving: {advice.for_containers(worker['reload_error'])}. "
                "The whole log: make logs SERVICE=denzel"
            )


def _is_loading(before: dict[str, Any], now: dict[str, Any] | None) -> bool:
    """Whether a worker has still to end this reload; one that has gone, or has started since, has not."""
    if now is None or now["started"] != before["started"]:
        return False
    return now["reloading"] or not _has_heard(before, now)


def _has_heard(before: dict[str, Any] | None, now: dict[str, Any]) -> bool:
    """Whether a worker knows of this reload."""
    return before is not None and now["reloads"] != before["reloads"]


def _reload_api(containers: list[Container], url: str) -> None:
    before = api_reloads(url)
    _signal(containers)

    def look() -> str | None:
        now = api_reloads(url)
        done = now is not None and (
            before is None or now.started != before.started or (now.begun > before.begun and now.ended)
        )
        return None if done else "the API loads the new code"

    _wait(look, "api")
    now = api_reloads(url)
    if before and now and now.started == before.started and now.failed > before.failed:
        raise CommandError(
            f"The API does not start with the new code. Its last lines:\n{indented(last_lines('api'))}\n"
            "Its version from before goes on serving, before workers with the new code. "
            "The whole log: make logs SERVICE=api"
        )


def _workers(url: str) -> Workers | None:
    """The workers; None while nobody can tell."""
    document = fetch_ready(url)
    if document is None or document.get("queue") is None:
        return None
    return {worker["name"]: worker for worker in document["workers"]}


def _signal(containers: list[Container]) -> None:
    """SIGHUP to the first process, which passes it on; `docker kill` would end the container's restart policy."""
    for container in containers:
        done = docker("exec", container.id, "bash", "-c", "kill -HUP 1")
        if done.returncode != 0:
            raise CommandError(f"The container of {container.service} takes no signal: {done.stderr.strip()}")


def _wait(look: Callable[[], str | None], service: str) -> None:
    """Wait for a service, showing what for; each step, such as the next replaced process, has LAUNCH_TIMEOUT."""
    limit = launch_timeout()

    def timed_out(waiting_for: str) -> str:
        return (
            f"Not within {limit:g} seconds (LAUNCH_TIMEOUT in .env): {waiting_for}\n"
            f"{indented(last_lines(service))}\n"
            f"What ran before goes on serving meanwhile. Look at it: make status, make logs SERVICE={service}"
        )

    wait_for(look, limit, timed_out, limit_of_each=True)
