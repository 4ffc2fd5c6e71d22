"""What containers count, added up in Redis: once each, whatever becomes of a message or its sender."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
import redis
from redis import asyncio as async_redis

from denzel.metrics import layout
from denzel.metrics.counts import Counts
from denzel.metrics.pages import Pages
from denzel.queue import keys, totals
from tests.support.services import Service

SUCCESS = layout.REQUESTS["success"]
TOLD = {"service": "api", "host": "here", "memory": {}, "processes": []}


def counting(pages: Pages) -> Counts:
    counts = Counts()
    counts.use(pages, 0, "api")
    return counts


@pytest.fixture
def send(redis_service: Service, empty_redis: redis.Redis) -> Callable[..., None]:
    """Call it with pages: what is new is sent; with `dies`, its sender does not learn that it has arrived."""

    def send(pages: Pages, dies: bool = False) -> None:
        async def run() -> None:
            client = async_redis.Redis.from_url(redis_service.redis_url)
            arrived = pages.arrived
            if dies:
                pages.arrived = lambda: None  # type: ignore[method-assign]
            try:
                await totals.send(client, pages, TOLD)
            finally:
                pages.arrived = arrived  # type: ignore[method-assign]
                await client.aclose()

        asyncio.run(run())

    return send


def added_up(client: redis.Redis) -> dict[str, int]:
    return {name.decode(): int(value) for name, value in client.hgetall(keys.TOTALS).items()}


def test_containers_are_added_up(send: Callable[..., None], empty_redis: redis.Redis) -> None:
    first, second = Pages.create(1), Pages.create(1)
    counting(first).add(SUCCESS)
    for _ in range(2):
        counting(second).add(SUCCESS)
    for pages in (first, second, first):
        send(pages)
    assert added_up(empty_redis) == {"requests:success": 3}
    assert len(empty_redis.hkeys(keys.CONTAINERS)) == 2


def test_a_message_that_comes_again_counts_once(send: Callable[..., None], empty_redis: redis.Redis) -> None:
    pages = Pages.create(1)
    counts = counting(pages)
    counts.add(SUCCESS)
    send(pages, dies=True)
    counts.add(SUCCESS)
    send(pages)  # the first one again
    assert added_up(empty_redis) == {"requests:success": 1}
    send(pages)
    send(pages)
    assert added_up(empty_redis) == {"requests:success": 2}


def test_sums_are_whole_numbers(send: Callable[..., None], empty_redis: redis.Redis) -> None:
    pages = Pages.create(1)
    counts = counting(pages)
    expected = 0.0
    for _ in range(100):
        counts.observe(layout.STAGE["queue"], 0.0123456789)
        expected += 0.0123456789
        send(pages)
    found = added_up(empty_redis)
    assert found["stage:queue:millionths"] == int(expected * 1e6)
    assert found["stage:queue:0.025"] == 100


def test_a_container_that_is_silent_tells_nothing_more(send: Callable[..., None], empty_redis: redis.Redis) -> None:
    old, young = Pages.create(1), Pages.create(1)
    counting(old).add(SUCCESS)
    send(old)
    empty_redis.hset(keys.CONTAINERS, old.source, f"1000 {json.dumps(TOLD)}")
    send(young)
    assert empty_redis.hkeys(keys.CONTAINERS) == [young.source.encode()]
    assert added_up(empty_redis) == {"requests:success": 1}
    send(old)  # it was only cut off
    assert added_up(empty_redis) == {"requests:success": 1}


def test_a_redis_without_room_loses_nothing(send: Callable[..., None], empty_redis: redis.Redis) -> None:
    pages = Pages.create(1)
    counting(pages).add(SUCCESS)
    empty_redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            send(pages)
    finally:
        empty_redis.config_set("maxmemory", 0)
    send(pages)
    assert added_up(empty_redis) == {"requests:success": 1}


def test_a_redis_that_was_emptied_begins_anew(send: Callable[..., None], empty_redis: redis.Redis) -> None:
    pages = Pages.create(1)
    counts = counting(pages)
    counts.add(SUCCESS)
    send(pages)
    empty_redis.flushall()
    counts.add(SUCCESS)
    send(pages)
    assert added_up(empty_redis) == {"requests:success": 1}


def test_what_is_known_of_the_queue(redis_service: Service, empty_redis: redis.Redis) -> None:
    seconds, _ = empty_redis.time()
    empty_redis.lpush(keys.WAITING, "young", "younger")
    empty_redis.rpush(keys.WAITING, "oldest")
    empty_redis.hset(keys.TASK + "oldest", "accepted", f"{seconds - 30}.5")
    empty_redis.zadd(keys.DELAYED, {"delayed": seconds + 60})
    empty_redis.sadd(keys.CLAIMANTS, "token")
    empty_redis.sadd(keys.CLAIMS + "token", "a", "b")
    empty_redis.zadd(keys.DEAD, {"dead": 1})
    empty_redis.zadd(keys.CALLBACKS, {"a": 1, "b": 2})
    empty_redis.set(keys.SPEED, "12.5 0.01")
    beat = {"up": 2, "processes": 3}
    empty_redis.hset(keys.NODES, "worker@a", f"{seconds} {json.dumps(beat)}")
    empty_redis.hset(keys.NODES, "worker-2@a", f"{seconds - 20} {json.dumps(beat)}")

    async def ask() -> Any:
        figures = totals.QueueFigures(settings(redis_service), readiness)
        await figures.start()
        try:
            return await figures.known(), await figures.recent()
        finally:
            await figures.stop()

    async def readiness() -> dict[str, Any]:
        return {"ready": True}

    known, recent = asyncio.run(ask())
    assert 28 < known.queue.pop("oldest") < 35
    assert known.queue.pop("redis_used") > 0
    expected = {"waiting": 4, "claimed": 2, "dead": 1, "callbacks": 2, "capacity": 12.5, "redis_limit": 0}
    assert known.queue == expected
    assert sorted((node["name"], node["up"], node["processes"]) for node in known.nodes) == [
        ("worker-2@a", 0, 3),
        ("worker@a", 2, 3),
    ]
    assert known.ready
    assert recent == []


def settings(service: Service) -> Any:
    from denzel.settings import Settings

    return Settings.from_environment(service.environment)
