"""The soft time limit: an exception in the user's code, by a timer signal."""

from __future__ import annotations

import signal
from typing import Any


class SoftTimeLimit:
    """Raises TimeLimitExceeded in the user's code when it runs for longer than `seconds` (0: never).

    Code that does not return to Python is out of its reach; the supervisor's hard limit is not.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        if seconds:
            signal.signal(signal.SIGALRM, self._raise)

    def _raise(self, number: int, frame: Any) -> None:
        raise TimeLimitExceeded(f"timed out after {self._seconds:g} s")

    def __enter__(self) -> None:
        if self._seconds:
            signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def __exit__(self, *exception: object) -> None:
        if self._seconds:
            signal.setitimer(signal.ITIMER_REAL, 0)


class TimeLimitExceeded(Exception):
    """A task ran for longer than allowed."""
