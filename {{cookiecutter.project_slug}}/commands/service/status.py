"""``make status``: the four services and the workers, in containers or under ``make dev``."""

from __future__ import annotations

import math
import re
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from commands.shared import advice
from commands.shared.arguments import parse_arguments, switch
from commands.shared.docker import (
    NOT_CREATED,
    Container,
    containers,
    folder_elsewhere,
    require_docker,
)
from commands.shared.env import read_env
from commands.shared.project import ROOT, CommandError
from commands.shared.readiness import answers, fetch_ready, sync_timeout, worker_states
from commands.shared.running import BUILDING_FILE, read_marker, running_dev
from commands.shared.screen import colour, say
from commands.shared.stack import SERVICES, container_urls, published, services
from denzel.edits import CODE, Edits

_COLOURS = {"UP": "green", "DOWN": "red", "ERROR": "red"}
_CLEAR = "\033[H\033[2J\033[3J"


def run(arguments: list[str]) -> int:
    """Show the status once, or again every second until Ctrl-C."""
    live = switch(parse_arguments(arguments, {"LIVE": "0"})["LIVE"], "LIVE")
    if not live:
        say(status())
        return 0
    try:
        while True:
            text = status()
            say(_CLEAR + text)
            time.sleep(1)
    except KeyboardInterrupt:
        return 0


def status() -> str:
    """The status as text; a refusal when there is nothing to show."""
    found = containers()
    building = read_marker(BUILDING_FILE)
    elsewhere = folder_elsewhere(found)
    if elsewhere and not building and not running_dev():
        name = read_env().get("COMPOSE_PROJECT_NAME", "")
        raise CommandError(
            f"The containers called {name} belong to {elsewhere}, not to this folder, which has none. "
            'Look at them there ("make status"), or give this folder another COMPOSE_PROJECT_NAME in .env.'
        )
    found = {} if elsewhere else found
    if not found and not building:
        if dev := running_dev():
            return _dev_status(dev)
        require_docker()
        raise CommandError(NOT_CREATED)
    return _container_status(found, building)


def _container_status(found: dict[str, list[Container]], building: dict[str, Any] | None) -> str:
    states = {service: service_state(found.get(service, [])) for service in services()}
    if building:
        states |= dict.fromkeys(("denzel", "monitor", "api"), building["state"])
    api, document = container_urls()[0], None
    if states["api"] in ("UP", "LOADING..."):
        document = fetch_ready(api)
    workers = worker_states(document)
    told = [*notes(document, "make restart applies that"), *_errors(workers, advice.for_containers)]
    return layout(states, published(), workers, told, _responses(api, document), _queue(document)) + _of_the_model(
        document
    )


def _dev_status(dev: dict[str, Any]) -> str:
    document = fetch_ready(dev["api_url"])
    api = "UP" if document is not None else "LOADING..."
    if dev["services"] == ["api"]:  # the inline executor: it does everything by itself
        states = dict.fromkeys(SERVICES, "DOWN") | {"api": api}
    else:
        states = {
            "denzel": "UP",  # make dev starts a service that ends again at once
            "monitor": "UP" if answers(f"{dev['monitor_url']}/healthcheck") else "LOADING...",
            "api": api,
            "redis": "UP" if _listens(dev["redis_url"]) else "LOADING...",
        }
    ports = {name: str(urlsplit(dev[f"{name}_url"]).port) for name in ("api", "monitor")}
    workers = worker_states(document)
    told = [*notes(document, "make dev takes that up in a moment", _for_dev), *_errors(workers, advice.for_dev)]
    return layout(states, ports, workers, told, _responses(dev["api_url"], document), _queue(document)) + _of_the_model(
        document
    )


def _for_dev(error: str) -> str:
    return advice.for_dev(error) or "correct it"


def _responses(api_url: str, document: dict[str, Any] | None) -> str:
    """How /predict answers now; empty where the API cannot tell."""
    seconds = sync_timeout(api_url) if document is not None else None
    if seconds is None:
        return ""
    return f"synchronous, within {seconds:g} seconds" if seconds else "asynchronous"


def _queue(document: dict[str, Any] | None) -> str:
    """How many tasks wait for a process; empty where the API cannot tell."""
    waiting = (document or {}).get("queue")
    if not isinstance(waiting, int):
        return ""
    return f"{waiting} task waits" if waiting == 1 else f"{waiting} tasks wait"


def _of_the_model(document: dict[str, Any] | None) -> str:
    """Lines on the model's version and on the ingesting, where there are such; each begins with a line break."""
    document = document or {}
    lines = [f"Model: {document['model_version']}"] if document.get("model_version") else []
    if found := document.get("ingest"):
        error = f": {found['error']}" if found.get("error") else ""
        lines.append(f"Ingesting: {found['status']}, {found['done']} of {found['total'] or '?'}{error}")
    return "".join(f"\n{line}" for line in lines)


def _errors(workers: Sequence[tuple[str, str, str]], advise: Callable[[str], str]) -> list[str]:
    """What to do about the errors of workers, as the other commands say it."""
    texts = dict.fromkeys(advise(error) for _, state, error in workers if state == "ERROR" and error.strip())
    return [advice.sentence(text) for text in texts if text]


def notes(document: dict[str, Any] | None, how: str, advise: Callable[[str], str] = advice.for_containers) -> list[str]:
    """What else there is to know: code that was refused, or code and assets that changed after they were loaded."""
    workers = (document or {}).get("workers") or []
    for worker in workers:
        if error := worker.get("reload_error"):
            how = advise(error)
            return [f"The version from before serves; the new one does not load: {_main_line(error)}: {how}"]
    loaded = min((worker.get("loaded") or math.inf for worker in workers), default=math.inf)
    newer = [path for path, (changed, _) in sorted(Edits(ROOT).known.items()) if changed / 1e9 > loaded]
    if not newer:
        return []
    more = f" (and {len(newer) - 1} more)" if len(newer) > 1 else ""
    code = [path for path in newer if path.startswith(CODE)]
    return [f"{(code or newer)[0]}{more} was {'edited' if code else 'changed'} after it was loaded: {how}"]


def service_state(found: list[Container]) -> str:
    """One word for the containers of a service: that of the one that is worst off."""
    order = ["DOWN", "ERROR", "UNAVAILABLE", "LOADING...", "UP"]
    return min((_container_state(container) for container in found), key=order.index, default="DOWN")


def _container_state(container: Container) -> str:
    if container.state == "restarting":
        return "ERROR"
    if container.state != "running":
        return "DOWN"
    # denzel's health is that of its worker, which has a line of its own
    if container.service == "denzel":
        return "UP"
    return {"starting": "LOADING...", "unhealthy": "UNAVAILABLE"}.get(container.health, "UP")


def layout(
    states: dict[str, str],
    ports: dict[str, str],
    workers: list[tuple[str, str, str]],
    notes: Sequence[str] = (),
    responses: str = "",
    queue: str = "",
) -> str:
    """The services with their states and ports, then the workers, each with the main line of its error, then what
    waits, how /predict responds, and notes."""
    lines = ["Services:"]
    for service, state in states.items():
        port = f" [ Port: {ports[service]} ]" if state == "UP" and service in ports else ""
        lines.append(f"\t{service} - {_coloured(state)}{port}")
    for name, state, error in workers:
        lines.append(f"Worker: {name} - {_coloured(state)}")
        if state == "ERROR" and error.strip():
            # the word UP stands for the state alone
            lines.append("\t" + re.sub(r"\bUP\b", "Up", _main_line(error.strip())))
    lines += [f"Queue: {queue}"] if queue else []
    lines += [f"Responses: {responses}"] if responses else []
    lines += [f"Note: {note}" for note in notes]
    return "\n".join(lines)


def _main_line(error: str) -> str:
    """The line that says what went wrong: the last one of a traceback, else the first."""
    lines = error.splitlines()
    return lines[-1] if lines[0].startswith("Traceback") else lines[0]


def _coloured(state: str) -> str:
    return colour(state, _COLOURS.get(state, "yellow"))


def _listens(redis_url: str) -> bool:
    parts = urlsplit(redis_url)
    try:
        if parts.scheme == "unix":
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(2)
                client.connect(unquote(parts.path))
                return True
        with socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 6379), timeout=2):
            return True
    except OSError:
        return False
