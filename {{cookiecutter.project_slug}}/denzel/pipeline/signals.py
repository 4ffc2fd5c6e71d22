"""`signal.signal` for user code in its thread, as if that were the main one: Python lets only the main thread call it.

A handler that user code sets runs in the main thread, as all do. What it raises, as the handler of a time limit does,
is raised in the user's thread, where the code is that it means.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

log = logging.getLogger("denzel.api")

# While the service runs, these end it.
_OURS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
# Seconds that the main thread has to answer.
_PATIENCE = 5.0

_by_thread: dict[int, UserSignals] = {}
_set_handler = signal.signal


class UserSignals:
    """The handlers that user code has set.

    Args:
        on_use: called when user code sets one.
        is_running: whether user code runs.

    Attributes:
        ask_main_thread: hands over a function that the main thread is to call soon.
        is_serving: the service has begun; the signals that end it are its own.
    """

    def __init__(self, on_use: Callable[[], None], is_running: Callable[[], bool]) -> None:
        self.ask_main_thread: Callable[[Callable[[], None]], Any] = lambda function: function()
        self.is_serving = False
        self._on_use = on_use
        self._is_running = is_running
        self._handlers: dict[int, Any] = {}
        self._thread = 0

    def adopt_thread(self) -> None:
        """User code runs in the current thread from now on."""
        signal.signal = _signal  # type: ignore[assignment]
        self._thread = threading.get_ident()
        _by_thread[self._thread] = self

    def leave_thread(self) -> None:
        """The current thread ends."""
        _by_thread.pop(threading.get_ident(), None)

    def set_handler(self, number: int, handler: Any) -> Any:
        """What `signal.signal` does; called in the user's thread."""
        self._on_use()
        answer: Future[Any] = Future()

        def ask() -> None:
            try:
                answer.set_result(self._set(signal.Signals(number), handler))
            except BaseException as error:
                answer.set_exception(error)

        self.ask_main_thread(ask)
        return answer.result(_PATIENCE)

    def _set(self, number: signal.Signals, handler: Any) -> Any:
        if self.is_serving and number in _OURS:
            before = signal.getsignal(number)
            log.warning("%s ends the service: a handler that app/logic sets while it runs is not used", number.name)
        else:
            before = _set_handler(number, self._guarded(handler) if callable(handler) else handler)
        known, self._handlers[number] = self._handlers.get(number, before), handler
        return known

    def _guarded(self, handler: Callable[..., Any]) -> Callable[..., None]:
        @functools.wraps(handler)
        def handle(number: int, frame: Any) -> None:
            try:
                handler(number, frame)
            except BaseException as error:
                if self._is_running():
                    _raise_in(self._thread, error)
                elif isinstance(error, Exception):
                    log.exception("The handler of %s failed", signal.Signals(number).name)
                else:
                    raise

        return handle


@functools.wraps(_set_handler)
def _signal(number: Any, handler: Any) -> Any:
    user = _by_thread.get(threading.get_ident())
    return user.set_handler(number, handler) if user else _set_handler(number, handler)


def _raise_in(thread: int, error: BaseException) -> None:
    """Raise an exception in another thread, as soon as that runs Python code again."""
    # Python makes the exception there by calling this class without arguments.
    kind = type(type(error).__name__, (type(error),), {"__new__": lambda _: error})
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(kind))
