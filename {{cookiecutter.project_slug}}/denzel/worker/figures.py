"""What the processes of the denzel container count: their pages, and the supervisor that passes it on once a second."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Any

from redis.exceptions import RedisError

from denzel.metrics import machine
from denzel.metrics.counts import COUNTS
from denzel.metrics.layout import RELOADS
from denzel.metrics.pages import Pages
from denzel.queue import totals
from denzel.settings import get_settings

log = logging.getLogger("denzel.supervisor")

# Seconds until it is tried again after an error that should not be.
_AFTER_ERROR = 60.0


class PageHolder:
    """The pages of the supervisor's children, each for one child at a time; the first one is the supervisor's own.

    Without METRICS, and when there are more children than ever there should be, a child has none: it counts for itself.
    """

    def __init__(self) -> None:
        self._pages: Pages | None = None
        self._free: list[int] = []

    def take(self) -> int | None:
        """A page that nobody has."""
        if self._pages is None and get_settings().metrics == "on":
            # While processes are replaced there are more of them than are wanted.
            count = 3 * get_settings().worker_concurrency + 8
            self._pages = Pages.create(1 + count)
            self._free = list(range(count, 0, -1))
            COUNTS.use(self._pages, 0, "supervisor")
        return self._free.pop() if self._free else None

    def give_back(self, number: int | None) -> None:
        """A child has ended; what it has counted stays."""
        if number is not None:
            self._free.append(number)

    def handed_down(self, number: int | None) -> tuple[dict[str, str], list[int]]:
        """What a child needs for its page: in its environment, and as descriptors."""
        if number is None or self._pages is None:
            return {}, []
        return self._pages.environment(number), [self._pages.fd]


PAGES = PageHolder()


def count_reload(done: bool) -> None:
    """The processes have been replaced, or could not be."""
    COUNTS.add(RELOADS["denzel", "done" if done else "failed"])


async def watch(client: Any, node: str, versions: Callable[[], Iterable[str]]) -> None:
    """Pass on what is counted, once a second, until cancelled; once more then.

    Args:
        client: of Redis.
        node: the name of this supervisor's node.
        versions: tells the versions of the models that serve.
    """
    if COUNTS.pages is None:
        await asyncio.Event().wait()  # a duty ends only with all of them
    pages = COUNTS.share()
    pages.lock()
    while True:
        try:
            await asyncio.sleep(totals.EVERY)
            await _send(client, pages, node, versions)
        except asyncio.CancelledError:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(_send(client, pages, node, versions), totals.PATIENCE)
            raise


async def _send(client: Any, pages: Pages, node: str, versions: Callable[[], Iterable[str]]) -> None:
    try:
        told = [version for text in versions() for version in text.split(", ")]
        await totals.send(client, pages, {**machine.told("denzel", pages), "node": node, "versions": told})
    except (RedisError, OSError, asyncio.TimeoutError) as error:
        log.debug("What was counted waits for Redis: %s", error)
    except Exception:  # whatever it is, it ends neither the predictions nor the supervisor
        log.exception("What was counted could not be passed on")
        await asyncio.sleep(_AFTER_ERROR)
