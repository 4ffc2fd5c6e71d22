"""What the tests of the queue's steps share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from denzel.queue.worker_connection import WorkerConnection
from tests.service.support.tasks import Tasks
from tests.support.services import Service
from tests.support.waiting import eventually


@pytest.fixture
def tasks(redis_service: Service, empty_redis: redis.Redis) -> Tasks:
    return Tasks(empty_redis, redis_service.redis_url)


@pytest.fixture
def heard(tasks: Tasks) -> Iterator[Any]:
    """Call it for what was published since the last call: (channel, message)."""
    with tasks.redis.pubsub() as pubsub:
        pubsub.psubscribe("*")
        eventually(lambda: pubsub.get_message(timeout=1), "it is subscribed")

        def messages() -> list[tuple[str, str]]:
            tasks.redis.publish("end", "")
            found = []
            while (message := eventually(lambda: pubsub.get_message(timeout=1), "a message"))["channel"] != b"end":
                found.append((message["channel"].decode(), message["data"].decode()))
            return found

        yield messages


@pytest.fixture
def worker(redis_service: Service) -> WorkerConnection:
    return WorkerConnection(redis_service.redis_url)
