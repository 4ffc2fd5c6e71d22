"""The supervisor's side of the ingesting: it starts a process for it when that is queued."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from redis.exceptions import RedisError

from denzel.queue import ingesting
from denzel.worker.child import Child

# Seconds between two looks.
_LOOK_EVERY = 1.0


async def watch(client: Any, start: Callable[[Child], asyncio.Task[None]], stopping: asyncio.Event) -> None:
    """Start a process when an ingesting waits that nobody is at, one at a time, until cancelled.

    Args:
        client: of Redis.
        start: starts a child; what it returns ends with that.
        stopping: set when no more are to be started.
    """
    running: asyncio.Task[None] | None = None
    while True:
        await asyncio.sleep(_LOOK_EVERY)
        if stopping.is_set() or (running and not running.done()):
            continue
        with contextlib.suppress(RedisError, OSError):
            if await ingesting.waits(client):
                running = start(Child("The ingesting", "denzel.worker.ingesting", {}, once=True))
