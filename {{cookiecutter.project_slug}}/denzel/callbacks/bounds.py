"""Bounds on what one receiver (host and port) gets, whoever names it: retries a day, connections at a time."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from weakref import WeakValueDictionary

DAY = 86_400
# Receivers whose retries are remembered.
_MOST = 10_000


def today(now: float | None = None) -> int:
    """The number of the day, by UTC."""
    return int((time.time() if now is None else now) // DAY)


class OwnBounds:
    """The bounds of a process that sends by itself, without the others knowing.

    Args:
        connections: to one receiver at a time.
        retries: to one receiver a day.
    """

    def __init__(self, connections: int, retries: int) -> None:
        self._most, self._retries = connections, retries
        # One is there for as long as somebody holds it or waits for it.
        self._connections: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._counted: Counter[str] = Counter()
        self._day = 0

    def connection(self, receiver: str) -> asyncio.Semaphore:
        """To be held while something is sent."""
        return self._connections.setdefault(receiver, asyncio.Semaphore(self._most))

    def may_retry(self, receiver: str) -> bool:
        """Whether one more retry is in bounds; it is counted then."""
        if self._day != today() or len(self._counted) > _MOST:
            self._day = today()
            self._counted.clear()
        self._counted[receiver] += 1
        return self._counted[receiver] <= self._retries
