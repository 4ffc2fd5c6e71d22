"""What all containers count, added up in Redis, and what the queue is like: the queue's side of the metrics.

Each container sends once a second by how much its numbers have grown. Messages are numbered, so that one which is sent
twice, as its answer was lost or its sender died, is added once. So totals grow only, whoever ends or is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from redis.exceptions import RedisError

from denzel.metrics import machine, recent
from denzel.metrics.counts import COUNTS
from denzel.metrics.figures import Known
from denzel.metrics.pages import Pages
from denzel.queue import keys, owner
from denzel.queue.scripts import script
from denzel.settings import Settings

if sys.version_info >= (3, 11):
    from asyncio import timeout
else:
    from async_timeout import timeout

log = logging.getLogger("denzel.metrics")

T = TypeVar("T")

# Seconds between two messages, and for which Redis is waited for.
EVERY, PATIENCE = 1.0, 1.7
# Seconds until it is tried again after an error that should not be.
_AFTER_ERROR = 60.0

_COUNT = script("count")
_TOTALS = script("totals")
_NOTE = script("note")


async def send(client: Any, pages: Pages, told: Mapping[str, Any]) -> None:
    """Add what is new; for the one process that has the lock of these pages. Raises RedisError, OSError."""
    number, news = pages.message()
    arguments: list[Any] = [pages.source, number, json.dumps(told)]
    for name, grown in news.items():
        arguments += (name, grown)
    await _COUNT.call(client, *arguments)
    if news:
        pages.arrived()


class QueueFigures:
    """What is known of the service, for an API process; see `Figures` for the methods.

    While Redis is away the totals are left out: an older state of them would look like counters that begin anew.

    Args:
        settings: of the service.
        readiness: the executor's: the body of /ready.
    """

    def __init__(self, settings: Settings, readiness: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        self._settings = settings
        self._readiness = readiness
        self._passing_on: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._pages = COUNTS.share()
        self._client = owner.api_client(self._settings.redis_url, PATIENCE)
        self._passing_on = asyncio.create_task(self._pass_on())

    async def stop(self) -> None:
        if self._passing_on is None:
            return
        while not self._passing_on.done():  # a cancellation may be lost while Redis is asked
            self._passing_on.cancel()
            await asyncio.wait([self._passing_on], timeout=0.5)
        until = time.monotonic() + EVERY
        while not (has_lock := self._pages.lock()) and time.monotonic() < until:  # another one sends, or ends just now
            await asyncio.sleep(0.05)
        if has_lock:
            with contextlib.suppress(RedisError, OSError, asyncio.TimeoutError):
                await self._send()
            self._pages.unlock()
        await self._client.aclose()

    async def _pass_on(self) -> None:
        """Send what is new and note the totals, if no other process of the API does; until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            if self._pages.lock():
                try:
                    await self._send()
                    await self._ask(_NOTE.call(self._client, recent.EVERY, recent.KEPT, *recent.NOTED))
                except (RedisError, OSError, asyncio.TimeoutError) as error:
                    log.debug("What was counted waits for Redis: %s", error)
                except Exception:
                    log.exception("What was counted could not be passed on")
                    await asyncio.sleep(_AFTER_ERROR)

    async def _send(self) -> None:
        await self._ask(send(self._client, self._pages, machine.told("api", self._pages)))

    async def known(self) -> Known:
        ready, here = (await self._readiness())["ready"], self._pages.totals()
        try:
            found = await self._ask(_TOTALS.call(self._client))
        except (RedisError, OSError, asyncio.TimeoutError):
            return Known(here, None, [machine.told("api", self._pages)], ready, redis=False)
        totals, told, nodes, *numbers, speed = found
        queue = dict(zip(("waiting", "oldest", "claimed", "dead", "callbacks"), map(float, numbers), strict=True))
        queue["capacity"] = float(speed.split()[0])
        with contextlib.suppress(RedisError, OSError, asyncio.TimeoutError):  # not everybody may ask for that
            memory = await self._ask(self._client.info("memory"))
            queue["redis_used"], queue["redis_limit"] = memory["used_memory"], memory.get("maxmemory", 0)
        return Known(
            here,
            {name.decode(): int(value) for name, value in zip(totals[::2], totals[1::2], strict=True)},
            _containers(told),
            ready,
            queue,
            [_node(*nodes[at : at + 3]) for at in range(0, len(nodes), 3)],
            redis=True,
        )

    async def recent(self) -> list[recent.Interval]:
        try:
            notes = await self._ask(self._client.lrange(keys.NOTES, 0, -1))
        except (RedisError, OSError, asyncio.TimeoutError):
            return []
        return recent.intervals([[float(number) for number in note.split()] for note in notes])

    async def _ask(self, request: Awaitable[T]) -> T:
        """Await a request to Redis, within the time that a scraper can be kept waiting."""
        async with timeout(PATIENCE):
            return await request


def _containers(told: Sequence[bytes]) -> list[dict[str, Any]]:
    """What containers tell of themselves; of one that has just been restarted what it told last."""
    found = {}
    for text in told:
        container = json.loads(text)
        found[container["service"], container["host"], container.get("node")] = container
    return list(found.values())


def _node(name: bytes, age: int, heartbeat: bytes) -> dict[str, Any]:
    """A worker as its heartbeat tells: of one that is silent nothing is up."""
    found = json.loads(heartbeat)
    return {"name": name.decode(), "up": found["up"] if age <= keys.STALE else 0, "processes": found["processes"]}
