"""Runs the user's functions beside the event loop: one thread in each process, never two calls at once."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

log = logging.getLogger("denzel.api")


class Stuck(Exception):
    """The call did not return in time; it may still be running."""


class UserThread:
    """One daemon thread that takes calls in order.

    A call that hangs holds up the ones behind it, each until its own patience ends. A thread that has been stuck in
    one call for `patience` seconds is given up: the next call starts a new one, so that one hanging request does not
    stop the service. The event loop itself is never blocked.
    """

    def __init__(self, name: str, patience: float) -> None:
        self._name = name
        self._patience = patience
        self._calls: queue.SimpleQueue = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._busy_since: float | None = None

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The function's result; raises what it raises, or Stuck after `patience` seconds."""
        loop = asyncio.get_running_loop()
        self._ensure_thread(loop.time())
        future: asyncio.Future = loop.create_future()
        self._calls.put((loop, future, function, arguments))
        try:
            return await asyncio.wait_for(future, self._patience)
        except asyncio.TimeoutError:
            raise Stuck(f"{self._name} did not return within {self._patience:g} seconds") from None

    def _ensure_thread(self, now: float) -> None:
        stuck = self._busy_since is not None and now - self._busy_since > self._patience
        if stuck:
            log.error("%s has not returned for %g seconds: giving that thread up", self._name, self._patience)
        if self._thread is None or stuck or not self._thread.is_alive():
            if stuck:
                waiting, self._calls, self._busy_since = self._calls, queue.SimpleQueue(), None
                while not waiting.empty():
                    self._calls.put(waiting.get_nowait())
                waiting.put(None)
            self._thread = threading.Thread(target=self._work, args=(self._calls,), name=self._name, daemon=True)
            self._thread.start()

    def _work(self, calls: queue.SimpleQueue) -> None:
        while (call := calls.get()) is not None:
            loop, future, function, arguments = call
            if future.done():  # nobody waits any more
                continue
            if calls is self._calls:
                self._busy_since = loop.time()
            try:
                result, error = function(*arguments), None
            except BaseException as caught:  # SystemExit too: a user's exit() must not end the thread silently
                result, error = None, caught if isinstance(caught, Exception) else RuntimeError(repr(caught))
            if calls is self._calls:
                self._busy_since = None
            try:
                loop.call_soon_threadsafe(_settle, future, result, error)
            except RuntimeError:  # the loop has closed: the service is stopping
                return


def _settle(future: asyncio.Future, result: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
