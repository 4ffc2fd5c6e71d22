"""What is known of a service whose model runs in the API's process: all of it is in the memory of its processes."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any

from denzel.metrics import machine, recent
from denzel.metrics.counts import COUNTS
from denzel.metrics.figures import Known
from denzel.metrics.layout import NAMES


class InlineFigures:
    """See `Figures` for the methods.

    Args:
        executor: an `InlineExecutor`.
    """

    def __init__(self, executor: Any) -> None:
        self._executor = executor
        self._notes: deque[list[float]] = deque(maxlen=recent.KEPT)
        self._noting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._pages = COUNTS.share()
        self._noting = asyncio.create_task(self._note())

    async def stop(self) -> None:
        if self._noting:
            self._noting.cancel()

    async def known(self) -> Known:
        found = await self._executor.readiness()
        told = machine.told("api", self._pages)
        if version := found.get("model_version"):
            told["versions"] = [version]
        queue = {"waiting": found["queue"], "oldest": self._executor.oldest()}
        return Known(self._pages.totals(), self._totals(), [told], found["ready"], queue)

    async def recent(self) -> list[recent.Interval]:
        return recent.intervals(self._notes)

    async def _note(self) -> None:
        """Note the totals now and then, until cancelled."""
        while True:
            totals = self._totals()
            self._notes.append([time.time(), *(totals[name] for name in recent.NOTED)])
            await asyncio.sleep(recent.EVERY)

    def _totals(self) -> dict[str, int]:
        return dict(zip(NAMES, self._pages.totals(), strict=True))
