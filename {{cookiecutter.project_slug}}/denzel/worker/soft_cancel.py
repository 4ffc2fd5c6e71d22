"""Cancelling softly, in the process: an exception in the user's code, when the supervisor says so by a signal."""

from __future__ import annotations

import signal
from typing import Any

from denzel.pipeline.errors import TaskCancelled
from denzel.worker.process_state import ProcessState

# Ignored where nobody handles it: it does no harm to a process that is not ready for it.
SIGNAL = signal.SIGURG


class SoftCancel:
    """Raises TaskCancelled in the user's code of a task that was cancelled and runs alone.

    Within the `with` block user code runs; a signal that comes late does nothing. Code that does not return to Python
    is out of its reach; the supervisor's kill is not.
    """

    def __init__(self, state: ProcessState) -> None:
        self._state = state
        self._runs = False
        signal.signal(SIGNAL, self._raise)

    def _raise(self, number: int, frame: Any) -> None:
        if self._runs and self._state.is_cancelled:
            raise TaskCancelled("the task was cancelled")

    def __enter__(self) -> None:
        self._runs = True

    def __exit__(self, *exception: object) -> None:
        self._runs = False
