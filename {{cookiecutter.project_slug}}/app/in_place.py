"""Short calls of user code, made on the event loop itself: a trip to the user's thread would cost more than they do.

A function comes here when it has been short in the thread for a while. Should a call take long after all, it is
interrupted, and made again in the thread: so a function that hangs stops the loop for a moment only. Whatever else it
raises is asked of the thread, too: some code works in a thread of its own and not beside a running event loop.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

# A call that has not returned by then (seconds) is interrupted.
BUDGET = 0.02
# A function is short when the quickest of so many calls in a row took no longer than this (seconds): a busy machine
# makes single ones look long.
SHORT = 0.0005
CALLS = 16
# After a call that took too long, so many calls go to the thread; twice as many each time it happens again.
_LONGEST_EXILE = 100_000
# Larger requests (bytes) may take longer than those that were measured.
MOST_BYTES = 16_384


class Overdue(BaseException):
    """A call on the event loop was interrupted; no `except Exception` of user code stops it."""


@dataclass(slots=True)
class _Function:
    quickest: float = 1.0  # of the calls that are being counted
    calls: int = 0
    short: bool = False
    banned: bool = False
    exile: int = CALLS  # calls to see before it may come again


class InPlace:
    """Decides which functions may run on the event loop, and watches over those that do.

    Nothing may until `enable` was called: that takes the process's SIGALRM.
    """

    def __init__(self) -> None:
        self._enabled = self._running = False
        self._functions: dict[str, _Function] = {}

    def enable(self) -> None:
        """Let short functions run here from now on; to be called in the main thread, where the event loop runs."""
        signal.signal(signal.SIGALRM, self._interrupt)
        self._enabled = True

    def allows(self, name: str, size: int) -> bool:
        """Whether this function may be called here for a request of so many bytes."""
        function = self._functions.get(name)
        return self._enabled and function is not None and function.short and size <= MOST_BYTES

    def record(self, name: str, seconds: float) -> None:
        """Learn how long a call in the thread took."""
        function = self._functions.setdefault(name, _Function())
        function.quickest = min(function.quickest, seconds)
        function.calls += 1
        if function.calls >= function.exile:
            function.short = function.quickest <= SHORT and not function.banned
            function.quickest, function.calls = 1.0, 0

    def ban(self, name: str) -> None:
        """This function works in the thread only."""
        function = self._functions[name]
        function.short, function.banned = False, True

    def call(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """The function's result; raises what it raises, or Overdue."""
        self._running = True
        # Repeated, should user code catch everything.
        signal.setitimer(signal.ITIMER_REAL, BUDGET, BUDGET)
        try:
            return call(*arguments)
        except Overdue:
            function = self._functions[name]
            function.short = False
            function.exile = min(_LONGEST_EXILE, function.exile * 2)
            raise
        finally:
            self._running = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if not self._running:  # it has just returned
            signal.setitimer(signal.ITIMER_REAL, 0)
        elif not _importing(frame):  # half an import would leave a broken module behind
            raise Overdue


def _importing(frame: FrameType | None) -> bool:
    while frame:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
