"""Task ids that tell their age, origin and owner: an expired task is told apart from one that never was, and a client
finds its own tasks alone.

A UUID of version 8 (RFC 9562): 48 bits of unix time in milliseconds, 42 random bits, 32 bits of a keyed hash of the
others.
"""

from __future__ import annotations

import os
import struct
import time
import uuid
from hashlib import blake2s
from itertools import product
from typing import Any

from denzel.signing import split_secrets

_RANDOM_BITS = 42
_HIGH_LOW = struct.Struct(">QI")


class TaskIds:
    """Makes and recognises the ids of one service.

    Args:
        secrets: the same for all API processes of the service. Ids are made with the first, and recognised with each,
            so that a secret can be changed: ids from before stay good as long as theirs is among them.
    """

    def __init__(self, *secrets: str) -> None:
        self._secrets = secrets
        self._hashes: dict[tuple[str, str], Any] = {}

    @classmethod
    def of(cls, callback_secret: str, redis_url: str) -> TaskIds:
        """A service's own: by CALLBACK_SECRET, or where that is empty by what else only its processes know."""
        return cls(*(split_secrets(callback_secret) or (redis_url,)))

    def new(self, owner: str = "") -> str:
        """A fresh id of this owner's (the name of a key), or of nobody's."""
        random = int.from_bytes(os.urandom(6), "big") >> (48 - _RANDOM_BITS)
        return self._make(self._secrets[0], owner, time.time_ns() // 1_000_000, random)

    def age(self, task_id: str, owner: str = "") -> float | None:
        """Seconds since the id was made, None when it was not made here, for this owner or for nobody."""
        try:
            bits = uuid.UUID(task_id).int
        except ValueError:
            return None
        milliseconds = bits >> 80
        random = ((bits >> 64) & 0xFFF) << 30 | ((bits >> 32) & 0x3FFFFFFF)
        owners = (owner, "") if owner else ("",)  # one that was made before there were keys is everybody's
        whose = product(self._secrets, owners)
        if all(self._make(secret, one, milliseconds, random) != task_id for secret, one in whose):
            return None
        return time.time() - milliseconds / 1000

    def _hash(self, secret: str, owner: str) -> Any:
        """The keyed hash that an owner's ids end with; it is copied for each id: the work on the key is done once."""
        found = self._hashes.get((secret, owner))
        if found is None:
            key = blake2s((f"{secret}\0{owner}" if owner else secret).encode()).digest()
            found = self._hashes[secret, owner] = blake2s(key=key, digest_size=4)
        return found

    def _make(self, secret: str, owner: str, milliseconds: int, random: int) -> str:
        # time (48) | version 8 (4) | random (12) | variant 2 (2) | random (30) | hash (32)
        high = milliseconds << 16 | 0x8 << 12 | random >> 30
        low = 0x2 << 30 | random & 0x3FFFFFFF
        data = _HIGH_LOW.pack(high, low)
        hashed = self._hash(secret, owner).copy()
        hashed.update(data)
        text = (data + hashed.digest()).hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
