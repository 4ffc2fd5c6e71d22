"""How many requests each key may send, in windows of time, as `limits` counts them: in all API processes here."""

from __future__ import annotations

import math
import time

from limits import RateLimitItem, parse_many
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter

from denzel.server.windows import WINDOWS


class _Shared(Storage):
    """What `limits` counts in."""

    STORAGE_SCHEME = None
    base_exceptions = Exception

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        return WINDOWS.add(key, expiry, amount)

    def get(self, key: str) -> int:
        return WINDOWS.counted(key)

    def get_expiry(self, key: str) -> float:
        return WINDOWS.ends(key)

    def check(self) -> bool:
        return True

    def reset(self) -> int | None:
        raise NotImplementedError

    def clear(self, key: str) -> None:
        WINDOWS.clear(key)


class Rates:
    """The limits of each key.

    Attributes:
        text: the same in words.

    Args:
        limits: API_RATE_LIMIT, as 10/second,1000/hour; empty: there are none.
    """

    def __init__(self, limits: str) -> None:
        self.text = limits.replace("/", " a ").replace(",", " and ")
        self._limits: list[RateLimitItem] = parse_many(limits) if limits else []
        self._limiter = FixedWindowRateLimiter(_Shared())

    def __bool__(self) -> bool:
        return bool(self._limits)

    def wait(self, owner: str) -> int:
        """Count a request of this key's name; 0: it may pass, else the whole seconds after which the next one may."""
        for limit in self._limits:
            if not self._limiter.hit(limit, owner):
                ends = self._limiter.get_window_stats(limit, owner).reset_time
                return max(1, math.ceil(ends - time.time()))
        return 0
