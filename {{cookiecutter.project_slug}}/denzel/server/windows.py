"""Counts of requests within windows of time, in a page of memory that all API processes of a master share.

Imported by the master before its processes are forked. Two processes that count the same at the very same moment may
count one too little.
"""

from __future__ import annotations

import mmap
import struct
import time
from hashlib import blake2s

_SLOT = struct.Struct("8sdQ")  # whose it is, when its window ends (unix seconds), how much was counted
_SLOTS = 16_384
_TRIED = 16  # slots from a key's own on; where all are taken, the one that ends first is


class Windows:
    """The page."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, _SLOT.size * _SLOTS)
        self._tags: dict[str, bytes] = {}  # of keys that were asked for

    def add(self, key: str, seconds: float, amount: int = 1) -> int:
        """Count this much in the window of a key, which begins where none is under way; what it has counted by now."""
        position, tag, ends, counted = self._find(key)
        now = time.time()
        if ends <= now:
            ends, counted = now + seconds, 0
        _SLOT.pack_into(self._page, position, tag, ends, counted + amount)
        return counted + amount

    def counted(self, key: str) -> int:
        """What the window of a key has counted."""
        _, _, ends, counted = self._find(key)
        return counted if ends > time.time() else 0

    def ends(self, key: str) -> float:
        """When it ends (unix seconds); now, where none is under way."""
        return max(self._find(key)[2], time.time())

    def clear(self, key: str) -> None:
        """Begin anew."""
        position, tag, _, _ = self._find(key)
        _SLOT.pack_into(self._page, position, tag, 0.0, 0)

    def _find(self, key: str) -> tuple[int, bytes, float, int]:
        """Where the key's slot is, its tag, and what stands there; of a slot that was another's nothing."""
        tag = self._tags.get(key)
        if tag is None:
            if len(self._tags) >= _SLOTS:
                self._tags.clear()
            tag = self._tags[key] = blake2s(key.encode(), digest_size=8).digest()
        first = int.from_bytes(tag, "big")
        free, earliest = -1, float("inf")
        for step in range(_TRIED):
            position = (first + step) % _SLOTS * _SLOT.size
            found, ends, counted = _SLOT.unpack_from(self._page, position)
            if found == tag:
                return position, tag, ends, counted
            if ends < earliest:
                free, earliest = position, ends
            if not ends:
                break
        return free, tag, 0.0, 0


WINDOWS = Windows()
