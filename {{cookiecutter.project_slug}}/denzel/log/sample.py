"""Lines that may come by the thousand: some a second are written; how many were left out is told once a second.

Where an event loop runs, it tells; elsewhere the next line that comes does, or whoever calls `tell` now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from typing import Any

from denzel.log.about import About
from denzel.timings import UNKNOWN, CallTimes

ANSWERED = logging.getLogger("denzel.requests")


class Sample:
    """Decides which lines are written.

    Args:
        log: where they would be written, at level info.
        rate: how many a second; 0: none, and nothing is told.
        what: they are called.
    """

    def __init__(self, log: logging.Logger, rate: float, what: str) -> None:
        self._log, self._rate, self._what = log, max(1, int(rate)) if rate else 0, what
        self._left, self._until = 0, 0.0
        self._left_out = 0
        self._on = self._rate > 0 and log.isEnabledFor(logging.INFO)

    def admits(self, now: float) -> bool:
        """Whether to write one more; now in seconds, of any clock that goes on."""
        if not self._on:
            return False
        if now >= self._until:
            self.tell(now)
            self._until, self._left = now + 1.0, self._rate
        if self._left:
            self._left -= 1
            return True
        self._left_out += 1
        if self._left_out == 1:
            with contextlib.suppress(RuntimeError):  # no event loop runs here
                asyncio.get_running_loop().call_later(1.0, self._tell, context=contextvars.Context())
        return False

    def tell(self, now: float) -> None:
        """Tell how many were left out, once their second is over; now by the clock of `admits`."""
        if self._left_out and now >= self._until:
            self._tell()

    def _tell(self) -> None:
        count, self._left_out = self._left_out, 0
        if not count:  # told already
            return
        self._log.info("%d %s were not logged (LOG_SAMPLE)", count, self._what, extra={"fields": {"left_out": count}})


def tell_answer(
    method: str,
    path: str,
    status: int,
    seconds: float,
    about: About,
    verify: float | None = None,
    since_verified: float = 0.0,
    call: CallTimes = UNKNOWN,
    level: int = logging.INFO,
) -> None:
    """One line about a request that was answered."""
    stages: dict[str, Any] = {} if verify is None else {"verify": round(verify * 1e3, 3)}
    if call.batch:
        times = {"queue": call.queue(since_verified), "process": call.process, "predict": call.predict}
        stages |= {name: round(value * 1e3, 3) for name, value in times.items()} | {"batch": call.batch}
    fields = {"method": method, "path": path, "status": status, "ms": round(seconds * 1e3, 3), **stages}
    told = ", ".join(f"{name} {value}" for name, value in stages.items())
    ANSWERED.log(
        level,
        "%s %s %d in %.1f ms%s", method, path, status, seconds * 1e3, f" ({told})" if told else "",
        extra={"about": about, "fields": fields},
    )  # fmt: skip
