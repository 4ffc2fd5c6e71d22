"""New code taken up in containers while the service runs: their processes are replaced, they and their sockets stay."""

from __future__ import annotations

from commands.shared import advice
from commands.shared.docker import Container, docker, last_lines
from commands.shared.new_code import Place, take_up_in_api, take_up_in_workers
from commands.shared.project import CommandError
from commands.shared.readiness import api_reloads, fetch_ready
from commands.shared.screen import say
from commands.shared.waiting import wait_for

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
    place = Place(url, lambda service: _signal(found[service]), last_lines, advice.for_containers)
    take_up_in_workers(place)
    take_up_in_api(place)


def _signal(containers: list[Container]) -> None:
    """SIGHUP to the first process, which passes it on; `docker kill` would end the container's restart policy."""
    for container in containers:
        done = docker("exec", container.id, "bash", "-c", "kill -HUP 1")
        if done.returncode != 0:
            raise CommandError(f"The container of {container.service} takes no signal: {done.stderr.strip()}")
