"""Hands tasks to Redis, together when they come together.

At most one round trip is under way: a task that finds none goes at once, the ones that come meanwhile go together in
the next. So a lone client waits for nobody, and the cost of a round trip is shared by as many as the load brings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from denzel.executor import Task, Unavailable
from denzel.log.about import REQUEST

# More than this in one message would hold up Redis for everybody else.
MOST_TASKS = 128
MOST_BYTES = 4_000_000


T = TypeVar("T")


class Submitter(Generic[T]):
    """Collects tasks while a round trip is under way.

    Args:
        send: stores tasks, and returns what holds for every one of them; raises for all of them alike. Unavailable
            ends the wait of all tasks, also of those that it was not called for yet.
        accepted: called for each task that was stored, with its future and what `send` returned.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Task]], Awaitable[T]],
        accepted: Callable[[Task, asyncio.Future[Any], T], None],
    ) -> None:
        self._send = send
        self._accepted = accepted
        self._waiting: list[tuple[Task, asyncio.Future[Any]]] = []
        self._running: asyncio.Task | None = None

    def submit(self, task: Task, future: asyncio.Future[Any]) -> None:
        """Send a task soon. The future gets what `send` raises; what becomes of it otherwise is up to `accepted`."""
        self._waiting.append((task, future))
        if self._running is None:
            self._running = asyncio.create_task(self._run())

    async def _run(self) -> None:
        REQUEST.set(())  # it sends other requests' tasks than that of the one that began it
        try:
            while self._waiting:
                batch = self._take()
                if not batch:
                    break
                try:
                    answer = await self._send([task for task, _ in batch])
                except BaseException as error:
                    if isinstance(error, Unavailable):  # whoever came meanwhile has waited long enough, too
                        batch, self._waiting = batch + self._waiting, []
                    for _, future in batch:
                        if not future.done():
                            future.set_exception(error)
                            future.exception()  # a client that has gone must not leave a warning behind
                    if not isinstance(error, Exception):
                        raise
                else:
                    for task, future in batch:
                        self._accepted(task, future, answer)
        finally:
            self._running = None

    def _take(self) -> list[tuple[Task, asyncio.Future[Any]]]:
        """The next tasks in order, as many as fit one message; the first always. Not those whose clients have gone."""
        self._waiting = [one for one in self._waiting if not one[1].done()]
        count, size = 0, 0
        for task, _ in self._waiting[:MOST_TASKS]:
            size += len(task.request)
            if count and size > MOST_BYTES:
                break
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch
