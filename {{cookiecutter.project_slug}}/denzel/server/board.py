"""What gunicorn's master and the API's processes tell each other: a page of memory that they share.

It says which processes accept connections, and how often all were replaced; each process can tell the latter, in the
header `Denzel-Reloads` of /ping.
"""

from __future__ import annotations

import mmap
import struct
import time

HEADER = "Denzel-Reloads"

_COUNTS = struct.Struct("III")  # reloads begun, done, and failed
_SLOTS = 1024  # a byte for each process, by its age, gunicorn's running number


# What a process does with connections; before it has said so, it starts. One that is spent accepts, too, until another
# has taken its place.
STARTING, ACCEPTING, LEAVING, SPENT = range(4)


class Board:
    """The page. Made before the processes are forked, so that all of them see it."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, _COUNTS.size + _SLOTS)
        self._started = time.time_ns()

    def set_state(self, age: int, state: int) -> None:
        """Say what the process of this age does."""
        self._page[_COUNTS.size + age % _SLOTS] = state

    def state(self, age: int) -> int:
        """What it does: STARTING, ACCEPTING, LEAVING or SPENT."""
        return self._page[_COUNTS.size + age % _SLOTS]

    def begin(self) -> None:
        """A reload begins; for the master alone."""
        self._count(0)

    def end(self, done: bool) -> None:
        """It has ended; for the master alone."""
        self._count(1 if done else 2)

    def _count(self, index: int) -> None:
        counts = list(_COUNTS.unpack_from(self._page))
        counts[index] += 1
        _COUNTS.pack_into(self._page, 0, *counts)

    @property
    def text(self) -> str:
        """When this master started, and how many reloads it has begun, done, and failed to do since."""
        return "{:x} {} {} {}".format(self._started, *_COUNTS.unpack_from(self._page))


BOARD = Board()
