"""Runs the user's functions beside the event loop: one thread in each process, never two calls at once.

User code is imported there too: what belongs to the thread that made it (a database's connection, thread-local data)
works in all its functions. Calls that are known to be short are made on the loop itself (`on_loop.py`), while the
thread has nothing to do; both share one context, so that context variables (of `decimal` and NumPy) are the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from denzel.log import about
from denzel.pipeline import errors
from denzel.pipeline.on_loop import LoopCalls, Overdue
from denzel.pipeline.signals import UserSignals

log = logging.getLogger("denzel.api")


T = TypeVar("T")

# Seconds that a thread which was given up has to end after all.
_SPENT_AFTER = 2.0


class Stuck(Exception):
    """The call did not return in time; it may still be running."""


@dataclass(slots=True)
class _Call:
    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    patience: float | None
    future: asyncio.Future
    whose: about.About
    began: float | None = None


class UserThread:
    """One daemon thread that takes calls in order; the event loop is never blocked.

    A call that runs for longer than its patience is answered with Stuck, and its thread is given up: the calls
    behind it go on in a new one, so that one hanging request does not stop the service.

    Attributes:
        prepare: called first in a thread that takes over from one that was given up.
        when_spent: called when a thread that was given up has not ended _SPENT_AFTER seconds later.
    """

    def __init__(self) -> None:
        self.loop_calls = LoopCalls()
        self.prepare: Callable[[], None] = lambda: None
        self.when_spent: Callable[[], None] = lambda: None
        self._in_first = False
        self._signals = UserSignals(partial(self.loop_calls.forbid, "they use signals"), self._is_running)
        self._context = contextvars.copy_context()
        self._calls: queue.SimpleQueue[_Call | Callable[[], None] | None] = queue.SimpleQueue()
        self._last: _Call | None = None
        self._thread: threading.Thread | None = None
        self._current: _Call | None = None
        self._results: deque[tuple[_Call, Any, Exception | None]] = deque()
        self._waiting = 0
        self._watch: asyncio.TimerHandle | None = None

    async def run_short(
        self,
        name: str,
        patience: float | None,
        function: Callable[..., Any],
        arguments: Callable[[], tuple[Any, ...]],
        size: int,
        succeeded: Callable[[Any], bool] = lambda result: True,
        doubtful: bool = False,
    ) -> Any:
        """The same as `run`, on the event loop where the function is known to be short.

        Args:
            arguments: makes them anew for each try: the function may change what it gets.
            size: of the request, in bytes.
            succeeded: whether a result is none of those that stand for an exception.
            doubtful: it was tried on the event loop, and failed.
        """
        if not doubtful and self.is_free_for(name, size):
            try:
                about.THREAD.about = about.current()
                result = self.call_now(name, function, *arguments())
                if succeeded(result):
                    return result
                doubtful = True
            except Overdue:
                pass
            except BaseException as error:  # a user's exit() must not end the process
                error.__traceback__ = None
                doubtful = True
            finally:
                about.THREAD.about = ()
        result = await self.run(name, patience, function, *arguments())
        if doubtful and succeeded(result):
            log.info("%s fails on the event loop and succeeds in a thread: it is always called there now", name)
            self.loop_calls.ban(name)
        return result

    def is_free_for(self, name: str, size: int) -> bool:
        """Whether a function may be called on the event loop now, for a request of so many bytes."""
        return not self._waiting and self._current is None and self.loop_calls.allows(name, size)

    def call_now(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """The function's result, on the event loop; raises what it raises, or Overdue."""
        return self.loop_calls.call(name, self._context.run, function, *arguments)

    def run_first(self, function: Callable[[], T]) -> T:
        """The function's result; to be called in the main thread, which waits, before its event loop runs.

        Raises: what the function raises.
        """
        requests: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        outcome: list[tuple[T | None, BaseException | None]] = []

        def call() -> None:
            self._in_first = True
            try:
                outcome.append((function(), None))
            except BaseException as error:
                outcome.append((None, error))
            self._in_first = False
            requests.put(lambda: None)

        self._signals.ask_main_thread = requests.put
        if self._thread is None:
            self._start_thread()
        self._calls.put(call)
        while not outcome:
            requests.get()()
        result, error = outcome[0]
        if error is not None:
            raise error
        return result  # type: ignore[return-value]

    async def run(self, name: str, patience: float | None, function: Callable[..., Any], *arguments: Any) -> Any:
        """The function's result; raises what the function raises, or Stuck.

        Args:
            name: what the function is called in the message of Stuck.
            patience: the seconds that the call may run, not counting its wait for the thread; None: for ever.
        """
        loop = asyncio.get_running_loop()
        call = _Call(name, function, arguments, patience, loop.create_future(), about.current())
        self._signals.ask_main_thread, self._signals.is_serving = loop.call_soon_threadsafe, True
        if self._thread is None:
            self._start_thread()
        self._calls.put(call)
        self._waiting += 1
        if self._watch is None:  # in a context of its own: it looks at other requests' calls, too
            self._watch = loop.call_later(0.5, self._look, loop, context=contextvars.Context())
        try:
            return await call.future
        finally:
            self._waiting -= 1
            del call  # the traceback of what is raised holds this frame, and the call holds the error: a cycle

    def _is_running(self) -> bool:
        """Whether user code runs in the thread."""
        return self._in_first or self._current is not None

    def _start_thread(self) -> None:
        self._thread = threading.Thread(target=self._live, args=(self._calls,), name="user code", daemon=True)
        self._thread.start()

    def _live(self, calls: queue.SimpleQueue[_Call | Callable[[], None] | None]) -> None:
        with _event_loop():
            self._signals.adopt_thread()
            while True:
                try:
                    self._work(calls)
                except BaseException as error:  # of a handler of the user's, when its call had returned already
                    if self._last and calls is self._calls:
                        self._current = None
                        self._deliver(self._last, None, RuntimeError(errors.describe(error)))
                else:
                    break
            self._signals.leave_thread()

    def _work(self, calls: queue.SimpleQueue[_Call | Callable[[], None] | None]) -> None:
        while (call := calls.get()) is not None:
            if not isinstance(call, _Call):
                self._context.run(call)
                continue
            if call.future.cancelled():  # nobody waits any more
                continue
            loop = call.future.get_loop()
            call.began = loop.time()
            self._last = self._current = call
            about.THREAD.about = call.whose
            result: Any = None
            error: Exception | None = None
            try:
                result = self._context.run(call.function, *call.arguments)
            except StopIteration as caught:  # no future takes it
                error = RuntimeError(errors.describe(caught))
            except Exception as caught:
                error = caught
            except BaseException as caught:  # a user's exit() must not end the thread silently
                error = RuntimeError(errors.describe(caught))
            about.THREAD.about = ()
            self.loop_calls.record(call.name, loop.time() - call.began)
            if calls is not self._calls:  # given up meanwhile: another thread has taken over
                return
            self._current = None
            self._deliver(call, result, error)

    def _deliver(self, call: _Call, result: Any, error: Exception | None) -> None:
        self._results.append((call, result, error))
        if len(self._results) == 1:  # one wake-up of the loop serves all results that come until it wakes
            with contextlib.suppress(RuntimeError):  # the loop has closed: the service is stopping
                call.future.get_loop().call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        while self._results:
            call, result, error = self._results[0]
            if not call.future.done():
                if error is None:
                    call.future.set_result(result)
                else:
                    call.future.set_exception(error)
            # Only now: while one is left, the thread relies on this loop to see what it adds.
            self._results.popleft()

    def _look_at_given_up(self, thread: threading.Thread | None) -> None:
        """Whether the call was only slow."""
        if thread is not None and thread.is_alive():
            self.when_spent()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Twice a second while calls wait: give up the thread if its call takes too long."""
        call = self._current
        if call and call.patience is not None and call.began and loop.time() - call.began > call.patience:
            log.error(
                "%s has not returned for %g s; its thread is given up", call.name, call.patience,
                extra={"about": call.whose},
            )  # fmt: skip
            stuck, self._calls, self._current = self._calls, queue.SimpleQueue(), None
            self._context = self._context.copy()  # the other one is in use there
            self._calls.put(self.prepare)
            while not stuck.empty():
                self._calls.put(stuck.get_nowait())
            stuck.put(None)
            if not call.future.done():
                call.future.set_exception(Stuck(f"{call.name} did not return within {call.patience:g} seconds"))
            loop.call_later(_SPENT_AFTER, self._look_at_given_up, self._thread)
            self._start_thread()
        self._watch = loop.call_later(0.5, self._look, loop) if self._waiting else None


@contextlib.contextmanager
def _event_loop() -> Iterator[None]:
    """Within the block `asyncio.get_event_loop` finds one in this thread, as it does in the main thread."""
    if sys.version_info >= (3, 14):  # there it does not
        yield
        return
    loop = asyncio.SelectorEventLoop()
    asyncio.set_event_loop(loop)
    try:
        yield
    finally:
        loop.close()
