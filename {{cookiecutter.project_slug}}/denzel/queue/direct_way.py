"""The direct way as the queue's executor uses it: what becomes of tasks that prediction processes were given, and what
of them is written to Redis.

Their record follows the answer. One that runs for long gets it while it runs, as if the process had claimed it; from
then on all that holds for claimed tasks holds for it: it can be looked up and cancelled, its time is limited, and
should its process die, it runs again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

from denzel.direct import place
from denzel.direct.given import Given
from denzel.direct.links import Link, Links
from denzel.executor import Task, Unavailable
from denzel.log.about import REQUEST
from denzel.queue import store
from denzel.queue.ticket import queue_settings
from denzel.record import Ending
from denzel.settings import Settings
from denzel.timings import CallTimes

T = TypeVar("T")

# Seconds after which a task that runs gets its record; within the time limit, so that the record tells of that.
_LONG = 0.3
# Records are written this often (seconds), so many together; what is more than _MOST_BYTES goes by itself.
_WRITE_EVERY, _TOGETHER, _MOST_BYTES = 0.02, 64, 4_000_000
# With more tasks than this waiting in the queue, all others queue up behind them.
_LONG_QUEUE = 100
# With more than this unwritten, requests go through the queue, which tells them apart from those that Redis takes.
_MOST_UNWRITTEN, _MOST_UNWRITTEN_BYTES = 2_000, 64_000_000


class DirectWay:
    """Gives tasks to prediction processes of this machine.

    Args:
        settings: of the service.
        channel: where the replies of this API process arrive.
        ask: awaits a request to Redis, within the time that clients can be kept waiting; raises Unavailable.
        on_end: called with the id of a task, how it ended, the version of the model, and the times of the call.
        on_return: called with the id of a task that has to go through the queue after all, and its fault (see `Task`).
        send_tickets: wakes so many workers, where the scripts cannot.

    Attributes:
        in_queue: how many tasks waited in the queue, as far as is known.
    """

    def __init__(
        self,
        settings: Settings,
        channel: str,
        ask: Callable[[Awaitable[Any]], Awaitable[Any]],
        on_end: Callable[[str, Ending, str, CallTimes], None],
        on_return: Callable[[str, str], None],
        send_tickets: Callable[[int], None],
    ) -> None:
        self.in_queue = 0
        self._settings = settings
        self._queue_settings = queue_settings(settings)
        self._channel = channel
        self._ask = ask
        self._on_end, self._on_return, self._send_tickets = on_end, on_return, send_tickets
        self._given: dict[str, Given] = {}
        self._faults: dict[str, str] = {}  # by id, of those whose process has died just now
        self._known: set[str] = set()  # ids of those that have a record
        self._promotions: dict[str, asyncio.Task[bool]] = {}  # ids of those that are getting one
        self._unwritten: deque[store.EndedDirectly] = deque()
        self._unwritten_bytes = 0
        self._has_unwritten = asyncio.Event()
        self._links: Links | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, client: Any) -> None:
        """Look for processes; without a folder there is no direct way.

        Args:
            client: runs scripts in Redis.
        """
        folder = place.folder_of(self._settings)
        if folder is None:
            return
        self._client = client
        limit = self._settings.task_time_limit
        long = min(_LONG, max(_LONG / 3, limit / 4)) if limit else _LONG
        self._links = Links(place.Place(folder), long, self._ended, self._returned, self._lost, self._runs_long)
        self._run(self._links.run())
        self._run(self._write())

    async def stop(self) -> None:
        """Write what is left, and let go of the processes."""
        if self._links is None:
            return
        while self._tasks:  # a cancellation may be lost while Redis is asked
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=0.5)
        with contextlib.suppress(Unavailable):
            while self._unwritten:
                await self._write_some()
        self._links.close()

    def give(self, task: Task) -> bool:
        """Give a task to a process; False when none would run it soon."""
        if (
            self._links is None
            or self.in_queue > _LONG_QUEUE
            or len(self._unwritten) > _MOST_UNWRITTEN
            or self._unwritten_bytes > _MOST_UNWRITTEN_BYTES
        ):
            return False
        link = self._links.choose(len(task.request))
        if link is None:
            return False
        self._given[task.id] = link.give(task.id, task.request, time.time(), task.origin, task.verify)
        return True

    async def keep(self, task_id: str) -> bool:
        """See to it that a task is known in Redis, as its client is to poll; False when no process runs it.

        Raises Unavailable.
        """
        given = self._given.get(task_id)
        if given is None:
            return False
        if not self._is_known(task_id) and given.link.take_back(task_id):
            del self._given[task_id]
            return False
        return task_id in self._known or await asyncio.shield(self._promotion(given, takes_long=False))

    def forget(self, task_id: str) -> None:
        """Nobody waits any more for this task."""
        given = self._given.get(task_id)
        if given and not self._is_known(task_id) and given.link.take_back(task_id):
            del self._given[task_id]

    def fault_of(self, task_id: str) -> str:
        """What a task is suspected of that no process has any more (see `Task`)."""
        return self._faults.get(task_id, "")

    # ---- What the links tell -------------------------------------------------------------------------------

    def _ended(self, task_id: str, link: Link, ending: Ending) -> None:
        given = self._given.pop(task_id, None)
        self._known.discard(task_id)
        if given:
            self._on_end(task_id, ending, link.model, link.times)
            given.request = b""  # which is not needed any more, and may be large
            ended = store.EndedDirectly(given, ending, time.time(), link.node, link.model, link.times)
            self._unwritten.append(ended)
            self._unwritten_bytes += len(ending[1])
            self._has_unwritten.set()

    def _returned(self, given: Given) -> None:
        self._given.pop(given.id, None)
        self._on_return(given.id, "")

    def _lost(self, link: Link, tasks: list[tuple[Given, str]]) -> None:
        """Those that are known run again by themselves."""
        unknown = []
        for given, fault in tasks:
            self._given.pop(given.id, None)
            if given.id in self._known:
                self._known.discard(given.id)
            else:
                unknown.append((given.id, fault))
                self._faults[given.id] = fault
        if unknown:
            self._run(self._queue_up(link.token, unknown))

    async def _queue_up(self, token: str, tasks: list[tuple[str, str]]) -> None:
        """Redis may not know yet that the process has ended: they must not be handed to it."""
        with contextlib.suppress(Unavailable):
            await self._ask(store.unlist(self._client, token))
        for task_id, fault in tasks:
            promotion = self._promotions.get(task_id)
            if promotion:
                await asyncio.wait([promotion])
            if promotion is None or promotion.cancelled() or promotion.exception() or not promotion.result():
                self._on_return(task_id, fault)
            else:
                self._known.discard(task_id)
            del self._faults[task_id]

    def _runs_long(self, given: Given) -> None:
        if not self._is_known(given.id):
            self._promotion(given, takes_long=True)  # should it fail, the next look tries again

    # ---- What is written -----------------------------------------------------------------------------------

    def _is_known(self, task_id: str) -> bool:
        """Whether a task has a record, or is getting one."""
        return task_id in self._known or task_id in self._promotions

    def _promotion(self, given: Given, takes_long: bool) -> asyncio.Task[bool]:
        """The one that is under way, or a new one."""
        if given.id not in self._promotions:
            self._promotions[given.id] = promotion = self._run(self._promote(given, takes_long))
            promotion.add_done_callback(lambda done: done.cancelled() or done.exception())  # none goes unseen
        return self._promotions[given.id]

    async def _promote(self, given: Given, takes_long: bool) -> bool:
        """Whether a task has a record now; not when it has ended, or its process has. Raises Unavailable."""
        REQUEST.set([(given.id, given.origin)])
        try:
            if given.id not in self._given:
                return False
            self._send_tickets(
                await self._ask(store.promote(self._client, self._queue_settings, given, self._channel, takes_long))
            )
            if given.id in self._given:
                self._known.add(given.id)
            return True
        finally:
            del self._promotions[given.id]

    async def _write(self) -> None:
        """Write records until cancelled."""
        while True:
            await self._has_unwritten.wait()
            await asyncio.sleep(_WRITE_EVERY)
            try:
                await self._write_some()
                while len(self._unwritten) >= _TOGETHER:  # more has come than one turn takes
                    await self._write_some()
            except Unavailable:
                await asyncio.sleep(0.5)

    async def _write_some(self) -> None:
        together: list[store.EndedDirectly] = []
        size = 0
        for ended in self._unwritten:
            size += len(ended.ending[1])
            if together and (len(together) == _TOGETHER or size > _MOST_BYTES):
                break
            together.append(ended)
        if together:
            await self._ask(store.record(self._client, self._queue_settings, together))
        for ended in together:
            self._unwritten.popleft()
            self._unwritten_bytes -= len(ended.ending[1])
        if not self._unwritten:
            self._has_unwritten.clear()

    def _run(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        # Not in the context of the request that is served just now: the work may be about others.
        task = Context().run(asyncio.get_running_loop().create_task, work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
