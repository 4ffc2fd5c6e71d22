"""The queue's true figures in Flower: on its page "Broker" and at /api/queues/length; and its /metrics by password.

Flower counts the messages in the broker. Here messages only wake workers; the tasks themselves wait in Redis, with
RabbitMQ as the broker too. So what is shown is read there: every figure, and the same ones for either broker.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from flower import urls
from flower.api.tasks import GetQueueLengths
from flower.views.broker import BrokerView
from flower.views.monitor import Metrics as FlowerMetrics
from redis import asyncio as redis
from tornado.web import URLSpec, authenticated

from denzel.queue import figures, keys, owner
from denzel.settings import get_settings

_PAGE, _LENGTHS, _METRICS = "/broker", "/api/queues/length", "/metrics"
_STARTED = time.time()


class Queue:
    """What Flower takes for a broker that it can ask for its queues.

    Args:
        last_event: when the monitor was last told of a task (seconds since 1970), 0: never.
    """

    def __init__(self, last_event: float) -> None:
        self._last_event = last_event

    async def queues(self, _: Iterable[str]) -> list[dict[str, Any]]:
        """The one queue, in the words of RabbitMQ's management; raises RedisError, OSError."""
        settings = get_settings()
        async with redis.Redis.from_url(
            settings.redis_url, redis_connect_func=owner.visiting_async, socket_timeout=2, socket_connect_timeout=1
        ) as client:
            found = await figures.read(client)
        return [
            {
                "name": keys.QUEUE,
                "messages": found.waiting + found.claimed,
                "messages_unacknowledged": found.claimed,
                "messages_ready": found.waiting,
                "consumers": found.processes,
                "idle_since": self._idle_since(found.waiting + found.claimed, settings.monitor_rate),
            }
        ]

    def _idle_since(self, tasks: int, monitor_rate: float) -> str:
        if tasks:
            return "in use"
        if not monitor_rate:
            return "not told (MONITOR_RATE=0)"
        if not self._last_event:
            return f"before {_written(_STARTED)}"
        return _written(self._last_event)


def _written(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(moment))


class _OurQueue:
    """Lets a page of Flower ask our queue in the place of the broker."""

    application: Any

    def get_broker(self) -> Queue:
        tasks = self.application.events.state.tasks.values()
        return Queue(max((task.timestamp or 0.0 for task in tasks), default=0.0))

    def get_active_queue_names(self) -> list[str]:
        return [keys.QUEUE]


class Metrics(FlowerMetrics):
    """Flower's own figures, with its password as everything else."""

    get = authenticated(FlowerMetrics.get)


class BrokerPage(_OurQueue, BrokerView):
    """The page "Broker"."""


class QueueLengths(_OurQueue, GetQueueLengths):
    """The same figures as JSON."""


def install() -> None:
    """Put these pages in the place of Flower's own, before it starts.

    Raises:
        RuntimeError: Flower does not have the pages where they are looked for: this version is not one that we know.
    """
    ours = {_PAGE: BrokerPage, _LENGTHS: QueueLengths, _METRICS: Metrics}
    for position, handler in enumerate(urls.handlers):
        if isinstance(handler, URLSpec):
            if page := ours.pop(handler.regex.pattern.rstrip("$"), None):
                urls.handlers[position] = URLSpec(_PAGE, page, name=handler.name)
        elif page := ours.pop(handler[0], None):
            urls.handlers[position] = (handler[0], page, *handler[2:])
    if ours:
        raise RuntimeError(f"This version of Flower has no {' and no '.join(ours)}")
