"""What is known of the whole service at one moment, and who finds it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from denzel.metrics.recent import Interval


@dataclass
class Known:
    """The service at one moment.

    Attributes:
        here: what the processes of this container have counted, by the places of `layout`.
        totals: what was counted everywhere, by the names there; None where that is not known.
        containers: what each container tells of itself (`machine.told`), and the versions of its models by process id.
        ready: whether /ready says so.
        queue: numbers of the queue, by the names of `families.QUEUE`, as far as they are known.
        nodes: the workers' heartbeats, of those who have sent one within a minute: name, up, processes.
        redis: whether Redis answers; None where there is none.
    """

    here: Sequence[float]
    totals: Mapping[str, float] | None
    containers: Sequence[Mapping[str, Any]] = ()
    ready: bool = False
    queue: Mapping[str, float] = field(default_factory=dict)
    nodes: Sequence[Mapping[str, Any]] = ()
    redis: bool | None = None


class Figures(Protocol):
    """Finds out what is known. All methods run on the event loop and never block it."""

    async def start(self) -> None:
        """Begin to pass on what this process counts; called once in each API process."""

    async def stop(self) -> None:
        """Pass on the rest, and end."""

    async def known(self) -> Known:
        """The service at this moment; what cannot be had is left out. Never raises."""

    async def recent(self) -> list[Interval]:
        """The last ten minutes, the oldest first. Never raises: where it is not known, there is nothing."""
