"""Short calls of user code, made on the event loop itself: a trip to the user's thread would cost more than they do.

A function comes here when it has been short in the thread for a while. Should a call take long after all, it is
interrupted, and made again in the thread: so a function that hangs stops the loop for a moment only. Whatever else it
raises is asked of the thread, too: some code works in a thread of its own and not beside a running event loop.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

log = logging.getLogger("denzel.api")

# A call that has not returned by then (seconds) is interrupted at the next tick.
BUDGET = 0.02
# The timer ticks (seconds) while calls come: setting it for each would cost as much as a short function does. User code
# may have stopped it when it has not ticked for _SILENT.
_TICK, _SILENT = 0.01, 0.1
# Code that catches every interruption blocks the loop, and all clients: after this many seconds the process ends.
GIVE_UP = 5.0
# A function comes here when the quickest of CALLS calls in a row took at most SHORT seconds: a busy machine makes
# single ones look long. It goes when its calls here take more than TOO_LONG seconds on average.
SHORT = 0.0005
CALLS = 16
TOO_LONG = 0.002
# Each time it has to go, it comes back after twice as many calls, at most this many.
_LONGEST_EXILE = 100_000
# Larger requests (bytes) may take longer than those that were measured.
MOST_BYTES = 16_384


class Overdue(BaseException):
    """A call on the event loop was interrupted; no `except Exception` of user code stops it."""


@dataclass(slots=True)
class _Function:
    quickest: float = 1.0  # of the calls in the thread that are being counted
    calls: int = 0
    short: bool = False
    banned: bool = False
    exile: int = CALLS  # calls to see before it may come again
    average: float = 0.0  # of the calls here, the last ones above all

    def send_back(self) -> None:
        """To the thread, for longer than last time."""
        self.short, self.average = False, 0.0
        self.exile = min(_LONGEST_EXILE, self.exile * 2)


class LoopCalls:
    """Decides which functions may run on the event loop, and watches over those that do.

    Nothing may until `enable` was called: that takes the process's SIGALRM.

    Attributes:
        examine: called before a function comes here: what forbids that, if anything does.
    """

    def __init__(self) -> None:
        self.examine: Callable[[], str | None] = lambda: None
        self._enabled = self._forbidden = self._running = self._overdue = False
        self._had_call = False  # since the last tick
        self._began, self._ticked = 0.0, -math.inf
        self._functions: dict[str, _Function] = {}

    def enable(self) -> None:
        """Let short functions run here from now on; to be called in the main thread, where the event loop runs."""
        if not self._forbidden:
            signal.signal(signal.SIGALRM, self._interrupt)
            atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)  # a tick without a handler would be an accident
            self._enabled = True

    def forbid(self, reason: str) -> None:
        """Let no function run here any more; from any thread."""
        if not self._forbidden:
            log.info("The functions of app/logic/ are always called in a thread of their own: %s", reason)
        if self._enabled:
            self._stop_timer()  # user code may be about to set a handler of its own, which a tick would find
        self._forbidden, self._enabled = True, False

    def allows(self, name: str, size: int) -> bool:
        """Whether this function may be called here for a request of this size (bytes)."""
        function = self._functions.get(name)
        return self._enabled and function is not None and function.short and size <= MOST_BYTES

    def record(self, name: str, seconds: float) -> None:
        """Learn how long a call in the thread took."""
        function = self._functions.setdefault(name, _Function())
        function.quickest = min(function.quickest, seconds)
        function.calls += 1
        if function.calls >= function.exile:
            function.short = function.quickest <= SHORT and not function.banned and not self._forbidden
            function.quickest, function.calls = 1.0, 0
            if function.short and self._enabled and (reason := self.examine()):
                self.forbid(reason)

    def ban(self, name: str) -> None:
        """This function works in the thread only."""
        function = self._functions[name]
        function.short, function.banned = False, True

    def call(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """The result of a function written in Python; raises what it raises, or Overdue."""
        function = self._functions.setdefault(name, _Function())
        self._began, self._overdue = time.monotonic(), False
        try:
            self._running = self._had_call = True
            if self._began - self._ticked > _SILENT:
                self._ticked = self._began
                signal.setitimer(signal.ITIMER_REAL, _TICK, _TICK)
            return call(*arguments)
        finally:
            self._running = False
            if self._forbidden:  # meanwhile
                self._stop_timer()
            function.average += (time.monotonic() - self._began - function.average) / CALLS
            if self._overdue or function.average > TOO_LONG:
                function.send_back()
            if self._overdue:  # whatever user code has made of that
                raise Overdue

    def _stop_timer(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._ticked = -math.inf

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        now = self._ticked = time.monotonic()
        had_call, self._had_call = self._had_call, self._running
        if not self._running:
            if not had_call:
                self._stop_timer()
        elif now - self._began >= BUDGET and _may_be_left(frame):
            if now - self._began > GIVE_UP:
                stack = "".join(traceback.format_stack(frame))
                log.critical(
                    "User code catches every interruption; this process ends. Catch nothing wider than Exception:\n%s",
                    stack,
                )
                os._exit(1)
            self._overdue = True
            raise Overdue


_OUR_OWN = LoopCalls.call.__code__


def _may_be_left(frame: FrameType | None) -> bool:
    """Whether an exception may be raised here: not in `call` itself; and half an import leaves a broken module."""
    if frame is None or frame.f_code is _OUR_OWN:
        return False
    while frame:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return False
        frame = frame.f_back
    return True
