"""Wait for a condition: ask again and again until a deadline, and say what was waited for when it passes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(
    probe: Callable[[], T | None], what: str | Callable[[], str], timeout: float = 15.0, interval: float = 0.02
) -> T:
    """The first true answer of the probe; fails when there is none in time, showing the last one.

    Args:
        probe: asked at once, and then until the deadline; it may take its time.
        what: what is waited for; as a function it is called when the time is over, to show how things stand.
        timeout: the deadline, in seconds from now.
        interval: seconds between an answer and the next question.
    """
    deadline = time.monotonic() + timeout
    while not (found := probe()):
        if time.monotonic() > deadline:
            raise AssertionError(_too_late(what, timeout, found))
        time.sleep(interval)
    return found


async def eventually_on_loop(probe: Callable[[], T | None], what: str, timeout: float = 15.0) -> T:
    """The same while the event loop goes on."""
    deadline = time.monotonic() + timeout
    while not (found := probe()):
        if time.monotonic() > deadline:
            raise AssertionError(_too_late(what, timeout, found))
        await asyncio.sleep(0.01)
    return found


def _too_late(what: str | Callable[[], str], timeout: float, found: object) -> str:
    return f"not within {timeout:g} s: {what() if callable(what) else what}; last seen: {found!r}"
