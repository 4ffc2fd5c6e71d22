"""``make scale``: how many containers hold models and predict."""

from __future__ import annotations

from commands.containers import checks
from commands.containers.until_ready import raise_failed
from commands.shared.arguments import count, parse_arguments
from commands.shared.docker import compose, require_created
from commands.shared.env import read_env, update_env
from commands.shared.project import CommandError
from commands.shared.readiness import fetch_ready, launch_timeout, worker_states
from commands.shared.running import api_url, launched, running_dev
from commands.shared.screen import say
from commands.shared.waiting import wait_for


def run(arguments: list[str]) -> int:
    """Start or stop containers until there are that many, and wait until all of them can predict."""
    given = parse_arguments(arguments, {"WORKERS": ""})["WORKERS"]
    if not given:
        now = read_env().get("WORKERS") or 1
        raise CommandError(f"Must pass WORKERS=n: how many containers predict (now {now}).")
    workers = count(given, "WORKERS")
    if not launched() and running_dev():
        raise CommandError("make scale is for the containers; for make dev set WORKER_CONCURRENCY in .env.")
    running = any(container.state == "running" for container in require_created().get("denzel", []))
    if running:
        checks.docker_sees_the_folder()
    update_env(WORKERS=workers)
    if not running:
        say(f'WORKERS={workers} is kept in .env and applies when the service runs again: "make start"')
        return 0
    if compose("up", "--detach", "--no-build", "--no-recreate", "denzel") != 0:
        raise CommandError("The containers could not be started: the lines above say why.")
    for name, state, _ in _settled(api_url(), workers):
        say(f"Worker: {name} - {state}")
    return 0


def _settled(url: str, wanted: int) -> list[tuple[str, str, str]]:
    """The workers, once there are as many as wanted and all are up."""
    limit = launch_timeout()
    workers: list[tuple[str, str, str]] = []

    def look() -> str | None:
        workers[:] = worker_states(fetch_ready(url))
        up = sum(state == "UP" for _, state, _ in workers)
        if up == len(workers) == wanted:
            return None
        raise_failed(workers)
        return f"{up} of {wanted} workers are up" if len(workers) <= wanted else "workers are stopping"

    wait_for(
        look,
        limit,
        lambda waiting_for: (
            f"Not within {limit:g} seconds (LAUNCH_TIMEOUT in .env): {waiting_for}. "
            "The containers stay and go on. Look at them: make status, make logs SERVICE=denzel"
        ),
    )
    return workers
