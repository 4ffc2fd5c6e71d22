"""The edits of a running `make dev`: seen by themselves, or told of by `make restart`, and taken up by its services.

The same is done as for containers: SIGHUP to the workers' supervisor, then to the API's master, which replace their
processes one by one; what does not load leaves in place what ran before.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from commands.shared import advice
from commands.shared.new_code import Place, take_up_in_api, take_up_in_workers
from commands.shared.project import ROOT, CommandError
from commands.shared.readiness import api_reloads, fetch_ready, launch_timeout, worker_states
from commands.shared.running import DEV_FILE, read_marker
from commands.shared.screen import say
from commands.shared.waiting import wait_for
from denzel.edits import CODE, Edits

# Assets that change again and again are written by the service itself: after this many reloads within so many seconds
# they are watched no longer.
_RELOADS, _SECONDS = 3, 60.0


class Watch:
    """Looks for edits of a project's folder that are complete: nothing has changed since the look before."""

    def __init__(self, edits: Edits) -> None:
        self._edits = edits
        self._changed: set[str] = set()
        self._of_assets: deque[float] = deque(maxlen=_RELOADS)
        self.ignored = ""  # a file of app/assets, once those are watched no longer

    @property
    def pause(self) -> float:
        """Seconds to wait between two looks."""
        return self._edits.pause

    def look(self) -> list[str]:
        """The files that were edited, once they are complete; empty otherwise."""
        changed = [path for path in self._edits.look() if path.startswith(CODE) or not self.ignored]
        self._changed.update(changed)
        if changed or not self._changed:
            return []
        complete, self._changed = sorted(self._changed), set()
        if not any(path.startswith(CODE) for path in complete):
            self._of_assets.append(time.monotonic())
            if len(self._of_assets) == _RELOADS and self._of_assets[-1] - self._of_assets[0] < _SECONDS:
                self.ignored = complete[0]
                return []
        return complete


def in_short(paths: list[str]) -> str:
    """The files of an edit, for a line of the log."""
    return paths[0] + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")


def dev_place(
    url: str,
    pids: Callable[[], dict[str, int]],
    last_lines: Callable[[str], str],
    tell: Callable[[str], object] = say,
) -> Place:
    """The services of a `make dev`; ``pids`` gives the process of each service by its name."""

    def send(service: str) -> None:
        try:
            os.kill(pids()[service], signal.SIGHUP)
        except (KeyError, ProcessLookupError):
            raise CommandError(f"{service} does not run at this moment: it starts with the new code.") from None

    return Place(url, send, last_lines, lambda error: advice.for_dev(error) or "correct it", tell)


def take_up(place: Place, services: Iterable[str]) -> str:
    """Let the code and the assets of now take over; what to say then.

    Raises:
        CommandError: the new code does not load.
    """
    _wait_until_up(place)
    if "denzel" in services:
        document = fetch_ready(place.url) or {}
        if all(state == "ERROR" for _, state, _ in worker_states(document)):
            # Processes that cannot load look for edits by themselves, and so does an API that cannot import.
            return "The worker tries it again at once"
        take_up_in_workers(place)
    take_up_in_api(place)
    if "denzel" not in services:
        _wait_for_inline(place)
    return "The new code has taken over"


async def in_thread(work: Callable[[], str]) -> str:
    """Run something in a thread that nobody waits for when everything ends, as asyncio's own are."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[str] = loop.create_future()

    def end(method: Callable[[Any], None], value: Any) -> None:
        if not result.done():
            method(value)

    def run() -> None:
        method: Callable[[Any], None] = result.set_result
        try:
            value: Any = work()
        except Exception as error:
            method, value = result.set_exception, error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(end, method, value)

    threading.Thread(target=run, daemon=True).start()
    return await result


def restart() -> int:
    """What `make restart` does beside a `make dev`.

    Raises:
        CommandError: the new code does not load.
    """
    dev = read_marker(DEV_FILE)
    assert dev is not None
    if newer := [name for name in (".env", "requirements.txt") if _time(name) > dev["started"]]:
        say(f"{' and '.join(newer)} changed after make dev was started: end it and start it again to apply that.")
    say("Taking up the code in app/ while the service runs")
    place = dev_place(dev["api_url"], _pids, _last_lines)
    say(f"{take_up(place, dev['services'])}: {dev['api_url']}")
    return 0


def _pids() -> dict[str, int]:
    dev = read_marker(DEV_FILE) or {}
    return dev.get("pids", {})


def _last_lines(service: str) -> str:
    try:
        lines = (DEV_FILE.parent / "dev.log").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join([line for line in lines if line.split(maxsplit=1)[:1] == [service]][-15:])


def _time(name: str) -> float:
    path = ROOT / name
    return path.stat().st_mtime if path.exists() else 0.0


def _wait_until_up(place: Place) -> None:
    """Wait until the services can be told: a signal to one that starts would end it."""

    def look() -> str | None:
        api = api_reloads(place.url)
        if api is None or not api.ended:
            return "the API is starting"
        document = fetch_ready(place.url) or {}
        return None if document.get("workers") else "the worker is starting"

    limit = launch_timeout()
    wait_for(look, limit, lambda what: f"Not within {limit:g} seconds: {what}", tell=place.tell)


def _wait_for_inline(place: Place) -> None:
    """Wait until the API's new process, which holds the model, can predict."""

    def look() -> str | None:
        document = fetch_ready(place.url) or {}
        if document.get("ready"):
            return None
        for name, state, error in worker_states(document):
            if state == "ERROR":
                raise CommandError(f"Worker: {name} - ERROR\n  {error}\nNothing serves: {place.advise(error)}.")
        return "the model is loading"

    limit = launch_timeout()
    wait_for(look, limit, lambda what: f"Not within {limit:g} seconds: {what}", tell=place.tell)
