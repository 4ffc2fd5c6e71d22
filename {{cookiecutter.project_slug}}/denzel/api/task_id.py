"""Task ids that tell their age and origin, so that an expired task is told apart from one that never was.

A UUID of version 8 (RFC 9562): 48 bits of unix time in milliseconds, 42 random bits, 32 bits of a keyed hash of the
others.
"""

from __future__ import annotations

import os
import struct
import time
import uuid
from hashlib import blake2s

_RANDOM_BITS = 42
_HIGH_LOW = struct.Struct(">QI")


class TaskIds:
    """Makes and recognises the ids of one service.

    Args:
        secret: the same for all API processes of the service.
    """

    def __init__(self, secret: str) -> None:
        # Copied for each id: the work on the key is done once.
        self._hash = blake2s(key=blake2s(secret.encode()).digest(), digest_size=4)

    def new(self) -> str:
        """A fresh id."""
        return self._make(time.time_ns() // 1_000_000, int.from_bytes(os.urandom(6), "big") >> (48 - _RANDOM_BITS))

    def age(self, task_id: str) -> float | None:
        """Seconds since the id was made, None when it was not made here."""
        try:
            bits = uuid.UUID(task_id).int
        except ValueError:
            return None
        milliseconds = bits >> 80
        random = ((bits >> 64) & 0xFFF) << 30 | ((bits >> 32) & 0x3FFFFFFF)
        if self._make(milliseconds, random) != task_id:
            return None
        return time.time() - milliseconds / 1000

    def _make(self, milliseconds: int, random: int) -> str:
        # time (48) | version 8 (4) | random (12) | variant 2 (2) | random (30) | hash (32)
        high = milliseconds << 16 | 0x8 << 12 | random >> 30
        low = 0x2 << 30 | random & 0x3FFFFFFF
        data = _HIGH_LOW.pack(high, low)
        hashed = self._hash.copy()
        hashed.update(data)
        text = (data + hashed.digest()).hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
