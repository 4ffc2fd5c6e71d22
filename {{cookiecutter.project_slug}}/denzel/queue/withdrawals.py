"""Tasks whose clients have gone are taken back together, as many clients may go at the same time; so are requests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

from denzel.executor import Unavailable
from denzel.log.about import REQUEST

# More than this in one message would hold up Redis for everybody else.
MOST_TASKS = 128


class Withdrawals:
    """Collects tasks while a round trip is under way. While Redis is away they are dropped: then they just run.

    Args:
        send: withdraws tasks, by their ids; may raise Unavailable.
    """

    def __init__(self, send: Callable[[Sequence[str]], Awaitable[None]]) -> None:
        self._send = send
        self._ids: set[str] = set()
        self._running: asyncio.Task[None] | None = None

    def add(self, task_id: str) -> None:
        """Withdraw a task soon; once more does no harm."""
        self._ids.add(task_id)
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Wait until all is done."""
        if self._running:
            with contextlib.suppress(asyncio.CancelledError):
                await self._running

    async def _run(self) -> None:
        REQUEST.set(())  # it is about all of them
        await asyncio.sleep(0)  # let those come together who go together
        while self._ids:
            batch = [self._ids.pop() for _ in range(min(MOST_TASKS, len(self._ids)))]
            with contextlib.suppress(Unavailable):
                await self._send(batch)
