"""What the service says about itself."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

from commands.shared import client_key
from commands.shared.arguments import positive_number
from commands.shared.env import read_env
from commands.shared.http import direct

# Of the memory, the part that models may take: they grow while they work.
_SPARE = 0.9


def answers(url: str, timeout: float = 2.0) -> bool:
    """Whether a GET of the URL is answered with success."""
    try:
        with direct.open(url, timeout=timeout) as response:
            return response.status == 200
    except OSError:
        return False


def _asked(url: str) -> urllib.request.Request:
    """A GET with the commands' key."""
    return urllib.request.Request(url, headers=client_key.headers())


def fetch_ready(api_url: str, timeout: float = 2.0) -> dict[str, Any] | None:
    """The document of ``/ready``, ready or not; None when the API cannot be reached."""
    try:
        with direct.open(_asked(f"{api_url}/ready"), timeout=timeout) as response:
            body = response.read()
    except urllib.error.HTTPError as error:
        body = error.read()
    except (OSError, HTTPException):
        return None
    try:
        document = json.loads(body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def sync_timeout(api_url: str, timeout: float = 2.0) -> float | None:
    """Seconds that /predict waits for its answer now, 0 where it does not; None while the API cannot tell."""
    try:
        with direct.open(_asked(f"{api_url}/ready"), timeout=timeout) as response:
            headers = response.headers
    except urllib.error.HTTPError as error:
        headers = error.headers
        error.close()
    except (OSError, HTTPException):
        return None
    try:
        return float(headers.get("Denzel-Sync-Timeout", ""))
    except ValueError:
        return None


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
        with direct.open(f"{api_url}/ping", timeout=timeout) as response:
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


def memory_note(document: dict[str, Any] | None) -> str:
    """What to change where the models of all processes hardly fit into the memory; empty where they do."""
    for worker in (document or {}).get("workers") or []:
        processes, each, free = (int(worker.get(name) or 0) for name in ("processes", "memory", "memory_free"))
        if not (processes > 1 and each and free):
            continue
        fit = max(1, int(_SPARE * (free + processes * each) / each))
        if fit < processes:
            return (
                f"{processes} processes hold {processes} copies of the model, {_gigabytes(each)} each; "
                f"{_gigabytes(free)} are free: set WORKER_CONCURRENCY={fit} in .env"
            )
    return ""


def memory_told(document: dict[str, Any] | None) -> str:
    """What the models take, as their processes have measured it; empty where none has."""
    for worker in (document or {}).get("workers") or []:
        processes, each, free = (int(worker.get(name) or 0) for name in ("processes", "memory", "memory_free"))
        if processes and each and free:
            size = _gigabytes(each) if each >= 1e9 else f"{each / 1e6:.0f} MB"
            holders = (
                f"{processes} processes hold the model, {size} each"
                if processes > 1
                else f"1 process holds the model, {size}"
            )
            return f"{holders}; {_gigabytes(free)} are free"
    return ""


def _gigabytes(number: int) -> str:
    return f"{number / 1e9:.1f} GB"


def launch_timeout() -> float:
    """Seconds that workers have to load their models."""
    return positive_number(read_env().get("LAUNCH_TIMEOUT") or 600, "LAUNCH_TIMEOUT")


def indented(text: str, count: int = 15) -> str:
    """The last lines of a text, as they stand below what they belong to."""
    return "\n".join(f"  {line}" for line in text.rstrip().splitlines()[-count:])
