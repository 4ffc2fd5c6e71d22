"""How much there is in the queue, and how many work on it: what the monitor shows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from denzel.queue import keys
from denzel.queue.scripts import script

_FIGURES = script("figures")


@dataclass(frozen=True)
class Figures:
    """The queue at one moment.

    Attributes:
        waiting: tasks that wait for a process, as /ready tells them.
        claimed: tasks that processes have taken and not ended yet.
        processes: prediction processes that take tasks.
    """

    waiting: int
    claimed: int
    processes: int


async def read(client: Any) -> Figures:
    """Read them in one step; raises RedisError, OSError."""
    now, waiting, claimed, heartbeats = await _FIGURES.call(client)
    processes = 0
    for text in heartbeats:
        written, _, heartbeat = text.decode().partition(" ")
        if int(now) - int(written) <= keys.STALE:
            processes += json.loads(heartbeat)["up"]
    return Figures(waiting, claimed, processes)
