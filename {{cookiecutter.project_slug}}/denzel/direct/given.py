"""A task that an API process has given to a prediction process, as it remembers it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from denzel.direct.links import Link

# A request of so many bytes is large: Redis would take longer for it than most calls do.
LARGE = 64_000


@dataclass(eq=False, slots=True)
class Given:
    """A task that a process was given.

    Attributes:
        sent: when, on the event loop's clock.
        accepted: when, in unix seconds.
        origin: where it comes from (`denzel.origin`).
        verify: seconds that `verify_input` took; None: not known.
        number: its place among the tasks that went over this connection.
        told_long: when `on_long` was called last, on the event loop's clock.
    """

    id: str
    request: bytes
    link: Link
    sent: float
    accepted: float
    origin: str = ""
    verify: float | None = None
    number: int = 0
    told_long: float = 0.0

    @property
    def is_large(self) -> bool:
        return len(self.request) >= LARGE
