"""The supervisor ends what runs of cancelled tasks: softly first, else by a kill, within a budget.

A process that is killed loads its model anew, and anybody may cancel tasks: were each cancellation a kill, one request
a second would keep the model unloaded. So an exception is raised in the user's code, and only a process that still runs
the task CANCEL_GRACE seconds later is killed; never so often that loading takes more than CANCEL_BUDGET of the
processes' time. Without a budget the task runs on, until there is one, it ends by itself or its time is over.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import RedisError

from denzel.queue import keys, nodes
from denzel.queue.pubsub import messages
from denzel.settings import Settings
from denzel.worker.child import Child

log = logging.getLogger("denzel.supervisor")

# Seconds within which a task begins that was claimed just as it was cancelled.
_BEGINS = 1.0
# Seconds that a process takes until it serves, while none has shown.
_GUESS = 10.0
# Kills that can be saved up for.
_MOST = 3
# Seconds between two looks at a process: within the grace, and afterwards.
_LOOK, _LOOK_LATER = 0.05, 0.5


class Budget:
    """What loading may cost, in seconds; at first there is enough for some kills.

    Args:
        part: of the time of all processes, that is saved up.
    """

    def __init__(self, part: float, now: float) -> None:
        self._part = part
        self._saved = float("inf") if part else 0.0
        self._since = now

    def take(self, now: float, cost: float, processes: int) -> bool:
        """Whether there is this much (seconds); it is gone then."""
        self._saved = min(_MOST * cost, self._saved + (now - self._since) * processes * self._part)
        self._since = now
        if not self._part or self._saved < cost:
            return False
        self._saved -= cost
        return True


class Cancelling:
    """Ends what runs of cancelled tasks.

    Args:
        client: of Redis.
        processes: tells the prediction processes.
    """

    def __init__(self, client: Any, settings: Settings, processes: Callable[[], Sequence[Child]]) -> None:
        self._redis = client
        self._grace = settings.cancel_grace
        self._processes = processes
        self._budget = Budget(settings.cancel_budget, time.monotonic())
        self._ending: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def watch(self) -> None:
        """End what is cancelled, until cancelled."""
        while True:
            try:
                async with self._redis.pubsub() as pubsub:
                    await pubsub.subscribe(keys.CANCELLED)
                    async for message in messages(pubsub):
                        if message["type"] == "message":
                            token, _, task_id = message["data"].decode().partition(" ")
                            self._end(token, task_id)
                        else:  # subscribed (again): what was cancelled while nobody listened?
                            await self._find()
            except (RedisError, OSError):
                await asyncio.sleep(1)

    async def _find(self) -> None:
        for child in self._processes():
            token, task_id = child.token, child.task_id
            if task_id and await nodes.is_cancelled(self._redis, token, task_id):
                self._end(token, task_id)

    def _end(self, token: str, task_id: str) -> None:
        which = token, task_id
        if which not in self._ending:
            task = self._ending[which] = asyncio.create_task(self._end_one(token, task_id))
            task.add_done_callback(lambda _: self._ending.pop(which, None))

    async def _end_one(self, token: str, task_id: str) -> None:
        child = await self._begun(token, task_id)
        if child is None:
            return

        def runs() -> bool:
            return child.token == token and child.runs(task_id)

        until = time.monotonic() + self._grace
        # Once more at half time: in some places (a callback from C, a destructor) an exception is lost.
        for moment in (until - self._grace / 2, until):
            if self._grace and runs():
                child.cancel(task_id)
            while runs() and time.monotonic() < moment:
                await asyncio.sleep(_LOOK)
        told = False
        while runs():
            if self._may_kill():
                log.warning(
                    "Task %s was cancelled and did not end within %g s: %s is killed", task_id, self._grace, child.title
                )
                child.kill(blameless=True)
                return
            if not told:
                log.warning(
                    "Task %s was cancelled and did not end within %g s: it runs on, as too many processes were killed "
                    "for such tasks (CANCEL_BUDGET)", task_id, self._grace,
                )  # fmt: skip
            told = True
            await asyncio.sleep(_LOOK_LATER)

    async def _begun(self, token: str, task_id: str) -> Child | None:
        """The process that runs the task by itself, if one does within a moment."""
        until = time.monotonic() + _BEGINS
        while time.monotonic() < until:
            for child in self._processes():
                if child.token == token and child.runs(task_id):
                    return child
            await asyncio.sleep(_LOOK)
        return None

    def _may_kill(self) -> bool:
        processes = self._processes()
        known = [child.took_to_start for child in processes if child.took_to_start]
        return self._budget.take(time.monotonic(), min(known, default=_GUESS), len(processes))
