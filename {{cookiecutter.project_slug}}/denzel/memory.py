"""The memory that an API process has for what is in flight: bodies, parsed trees, answers that clients have not read.

It is counted as it arrives, not as it is announced. What is large gets the greater part of it; the rest is for small
requests, which still pass when large ones are told to come again.
"""

from __future__ import annotations

import threading

from denzel.executor import NotTaken

# Bytes that a request or an answer may have, to be small.
SMALL = 65_536
# Of all memory, what large ones may have.
_FOR_LARGE = 7 / 8


class NoRoom(NotTaken):
    """The memory is used up: whoever needs it is to come again."""

    def __init__(self) -> None:
        super().__init__("The memory for requests that are under way is used up (API_MEMORY); try again soon")


class Memory:
    """What is used of the memory; may be used in all threads.

    Attributes:
        limit: bytes (API_MEMORY).
        used: bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._lock = threading.Lock()

    def has_room_for(self, size: int) -> bool:
        """Whether so many bytes, which belong together, find room."""
        return self.used + size <= (self.limit if size <= SMALL else self.limit * _FOR_LARGE)

    def add(self, size: int) -> None:
        """Count bytes that are there already; less than 0: they are gone."""
        with self._lock:
            self.used += size


MEMORY = Memory(512_000_000)


class Share:
    """What one request uses of the memory; to be released, whatever happens."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = 0

    def take(self, size: int) -> None:
        """Use more bytes.

        Raises:
            NoRoom: they are not there.
        """
        most = MEMORY.limit if self.size + size <= SMALL else MEMORY.limit * _FOR_LARGE
        if MEMORY.used + size > most:
            raise NoRoom
        MEMORY.add(size)
        self.size += size

    def release(self) -> None:
        """Use nothing any more."""
        MEMORY.add(-self.size)
        self.size = 0
