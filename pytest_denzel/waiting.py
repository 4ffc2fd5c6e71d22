"""The one loop by which the plugin waits. (`tiers/sweep.py`, which also runs without the plugin, has its own.)"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

__tracebackhide__ = True

T = TypeVar("T")


def wait_until(
    look: Callable[[], T | None],
    timeout: float,
    late: Callable[[], Exception],
    *,
    pause: float = 0.05,
    longest_pause: float = 0.0,
    sleep: Callable[[float], object] = time.sleep,
) -> T:
    """The first true answer of `look`.

    Args:
        look: is asked at least once; it raises what makes waiting pointless.
        timeout: seconds.
        late: the exception for when they have passed; its message says what was waited for, and what there is instead.
        pause: seconds between two looks.
        longest_pause: seconds up to which the pause grows, by half each time; by default it stays.
        sleep: pauses for the seconds given, or less where there is news.

    Raises:
        Exception: that of `late` or of `look`.
    """
    deadline = time.monotonic() + timeout
    while not (found := look()):
        left = deadline - time.monotonic()
        if left <= 0:
            raise late()
        sleep(min(pause, left))
        pause = max(pause, min(pause * 1.5, longest_pause))
    return found
