"""What the service says about itself, and waiting until it can predict."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

from commands.shared import advice
from commands.shared.docker import containers, last_lines
from commands.shared.project import CommandError, positive_number, read_env, say

_CRASHES = 3  # a container that Docker started again this often will not get well by waiting
# the services listen on this machine: a proxy in the environment must not be asked for them
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def answers(url: str, timeout: float = 2.0) -> bool:
    """Whether a GET of the URL is answered with success."""
    try:
        with _direct.open(url, timeout=timeout) as response:
            return response.status == 200
    except OSError:
        return False


def fetch_ready(api_url: str, timeout: float = 2.0) -> dict[str, Any] | None:
    """The document of ``/ready``, ready or not; None when the API cannot be reached."""
    try:
        with _direct.open(f"{api_url}/ready", timeout=timeout) as response:
            body = response.read()
    except urllib.error.HTTPError as error:
        body = error.read()
    except OSError:
        return None
    try:
        document = json.loads(body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


@dataclass(frozen=True)
class ApiReloads:
    """How often the API's processes were replaced since it started."""

    started: str
    begun: int
    done: int
    failed: int

    @property
    def ended(self) -> bool:
        """Whether none is under way."""
        return self.begun == self.done + self.failed


def api_reloads(api_url: str, timeout: float = 2.0) -> ApiReloads | None:
    """What ``/ping`` tells of the API's reloads; None when it cannot be reached, or knows of none."""
    try:
        with _direct.open(f"{api_url}/ping", timeout=timeout) as response:
            started, *counts = response.headers.get("Denzel-Reloads", "").split()
        return ApiReloads(started, *map(int, counts))
    except (OSError, ValueError, TypeError, HTTPException):
        return None


def worker_states(document: dict[str, Any] | None) -> list[tuple[str, str, str]]:
    """``(name, state, error)`` of each prediction node; one named "all" while none is known."""
    if document is None:
        return [("all", "UNAVAILABLE", "")]
    workers = [
        (worker["name"], worker["state"].replace("LOADING", "LOADING..."), worker["error"] or "")
        for worker in document.get("workers") or []
    ]
    return workers or [("all", "LOADING...", "")]


def wait_until_ready(api_url: str) -> None:
    """Wait until the service can predict and the monitor can be opened, showing what it waits for.

    Raises:
        CommandError: with the last error lines, when load_model raised, a service keeps ending, or
            LAUNCH_TIMEOUT has passed.
    """
    limit = launch_timeout()
    started = time.monotonic()
    shown, shown_at, looked_at = "", started, started
    while True:
        document = fetch_ready(api_url)
        waiting_for = _waiting_for(document)
        if not waiting_for:
            return
        now = time.monotonic()
        for name, state, error in worker_states(document):
            if state == "ERROR":
                raise CommandError(worker_failed(name, error))
        if waiting_for != shown or now - shown_at >= 10:
            seconds = f" ({now - started:.0f} s)" if now - started >= 1 else ""
            say(f"Waiting: {waiting_for}{seconds}")
            shown, shown_at = waiting_for, now
        if now - looked_at >= 2:
            _check_crashes()
            looked_at = time.monotonic()
        if now - started > limit:
            raise CommandError(_timed_out(document, waiting_for, limit))
        time.sleep(0.3)


def _waiting_for(document: dict[str, Any] | None) -> str:
    """What is not there yet, nothing when everything is."""
    if document is None:
        return "the API is starting"
    if not document.get("ready"):
        return str(document.get("reason") or "the worker is not ready")
    found = containers()
    for service in ("api", "monitor", "proxy"):
        if any(container.health == "starting" for container in found.get(service, [])):
            return f"{service} is starting"
    return ""


def launch_timeout() -> float:
    """Seconds that workers get to load their models."""
    return positive_number(read_env().get("LAUNCH_TIMEOUT") or 600, "LAUNCH_TIMEOUT")


def worker_failed(name: str, error: str) -> str:
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
            raise CommandError(
                f"The service {service} keeps ending. Its last lines:\n{indented(last_lines(service))}\n"
                'The containers stay: correct this, then run "make restart". '
                f"The whole log: make logs SERVICE={service}"
            )


def indented(text: str, count: int = 15) -> str:
    """The last lines of a text, as they stand below what they belong to."""
    return "\n".join(f"  {line}" for line in text.rstrip().splitlines()[-count:])
