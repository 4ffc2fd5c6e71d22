"""The one loop in which commands wait, and the one way in which they say what for."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator

from commands.shared.project import CommandError
from commands.shared.screen import say

PAUSE = 0.3  # seconds between two looks
AGAIN = 10.0  # seconds after which the same is said again


def wait_for(
    look: Callable[[], str | None],
    limit: float = math.inf,
    timed_out: Callable[[str], str] | None = None,
    *,
    limit_of_each: bool = False,
    pauses: Iterable[float] = itertools.repeat(PAUSE),
    tell: Callable[[str], object] = say,
    again: float = AGAIN,
) -> bool:
    """Look again and again, until there is nothing left to wait for or the limit has passed; whether it is the former.

    Args:
        look: returns what is waited for: None once there is nothing, an empty text where it shall not be told.
        limit: seconds.
        timed_out: makes the text of the refusal from what is waited for; without it, False is returned.
        limit_of_each: the limit begins anew with each thing that is waited for.
        pauses: seconds between the looks.
        tell: is given a line whenever something else is waited for, and again after ``again`` seconds.
        again: seconds.

    Raises:
        CommandError: the limit has passed.
    """
    started = since = told_at = time.monotonic()
    last = told = ""
    for pause in pauses:
        waiting_for = look()
        if waiting_for is None:
            return True
        now = time.monotonic()
        if limit_of_each and waiting_for != last:
            since = now
        last = waiting_for
        if now - since > limit:
            if timed_out is None:
                return False
            raise CommandError(timed_out(waiting_for))
        if waiting_for and (waiting_for != told or now - told_at >= again):
            tell(f"Waiting: {waiting_for}" + (f" ({now - started:.0f} s)" if now - started >= 1 else ""))
            told, told_at = waiting_for, now
        time.sleep(pause)
    raise AssertionError("pauses have no end")


def growing(first: float, longest: float, factor: float = 2.0) -> Iterator[float]:
    """Seconds to pause between attempts: the first, then each longer by the factor, up to the longest; without end."""
    pause = first
    while True:
        yield pause
        pause = min(pause * factor, longest)
