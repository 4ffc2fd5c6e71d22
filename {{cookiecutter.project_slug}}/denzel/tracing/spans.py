"""What is told of a request on its way, for its trace; here it costs next to nothing, and nothing comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from denzel.origin import Origin
from denzel.timings import Stopwatch

_NOTHING: AbstractContextManager[None] = nullcontext()


class Attempt:
    """An attempt to deliver a callback.

    Attributes:
        origin: what its receiver is to be told.
    """

    def __init__(self, origin: Origin) -> None:
        self.origin = origin

    def end(self, status: int | None, error: str | None) -> None:
        """It has ended, with this HTTP status if there was an answer; error says in words what went wrong."""


class Spans:
    """Traces are off.

    Attributes:
        on: somebody wants to know.
    """

    on = False

    def begin_request(self, name: str, came: Origin) -> tuple[Any, Origin]:
        """A request has come: its span, and where its task comes from now."""
        return None, came

    def end_request(self, exchange: Any, now: float) -> None:
        """It was answered; `exchange` is the API's, with the span; now by perf_counter."""

    def call(self, about: Sequence[tuple[str, str]], watch: Stopwatch) -> AbstractContextManager[None]:
        """Within the block the pipeline is called, for tasks of these ids and origins; `watch` measures it."""
        return _NOTHING

    def attempt(self, task_id: str, came: Origin, receiver: str) -> AbstractContextManager[Attempt]:
        """Within the block a callback is sent."""
        return nullcontext(Attempt(came))

    def stop(self) -> None:
        """Let go of what is not sent yet; returns soon in any case."""


NO_SPANS = Spans()
