"""The API's side of the queue: how a wait for a task ends, and that nothing is left of it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable

import pytest
import redis

from app import store
from app.celery_app import create_terms
from app.executor import Outcome, QueueFull, Task
from app.queue_executor import QueueExecutor
from app.settings import Settings
from tests.project.services import Service


class Queue:
    """An executor on a Redis that holds nothing, with one place; a process that works when told to."""

    def __init__(self, service: Service) -> None:
        self.redis = service.redis
        self.settings = Settings.from_environment({"REDIS_URL": service.redis_url, "MAX_QUEUE": "1"})
        self.executor = QueueExecutor(self.settings)

    async def submit(self, mode: str) -> str:
        task = Task(str(uuid.uuid4()), b"{}", mode, None)
        await self.executor.submit(task)
        return task.id

    def work(self) -> None:
        """Run the task that waits."""
        claimant, terms = store.Claimant("token", "worker@tested"), create_terms(self.settings)
        [(task_id, _)], _ = store.work(self.redis, terms, claimant, [])
        store.work(self.redis, terms, claimant, [(task_id, "SUCCESS", b'{"a":1}', b"")], 0)


@pytest.fixture
def run(redis_service: Service, empty_redis: redis.Redis) -> Callable[[Callable[[Queue], Awaitable[None]]], None]:
    """Call it with a test; nobody may be waited for after it."""

    async def main(test: Callable[[Queue], Awaitable[None]]) -> None:
        queue = Queue(redis_service)
        await queue.executor.start()
        try:
            assert await queue.executor._lane.eval("return 1", 0) == 1  # connected, with nothing to catch up with
            await test(queue)
            assert queue.executor._waiting == {}
        finally:
            await queue.executor.stop()

    return lambda test: asyncio.run(main(test))


def test_who_waits_gets_the_outcome(run: Callable) -> None:
    async def test(queue: Queue) -> None:
        task_id = await queue.submit("sync")
        queue.work()
        assert await queue.executor.wait(task_id, 10) == Outcome("SUCCESS", b'{"a":1}')

    run(test)


def test_who_has_waited_long_enough_gets_nothing(run: Callable) -> None:
    async def test(queue: Queue) -> None:
        task_id = await queue.submit("sync")
        assert await queue.executor.wait(task_id, 0.05) is None
        assert queue.redis.hget(f"denzel:task:{task_id}", "mode") == b"poll"

    run(test)


def test_an_outcome_that_was_never_heard_of_is_found_at_the_end_of_the_wait(run: Callable) -> None:
    async def test(queue: Queue) -> None:
        task_id = await queue.submit("sync")
        queue.redis.hset(f"denzel:task:{task_id}", "reply_to", "nobody")
        queue.work()
        assert await queue.executor.wait(task_id, 0.05) == Outcome("SUCCESS", b'{"a":1}')

    run(test)


def test_a_client_that_leaves_is_not_waited_for(run: Callable) -> None:
    async def test(queue: Queue) -> None:
        waiting = asyncio.create_task(queue.executor.wait(await queue.submit("sync"), 10))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])

    run(test)


@pytest.mark.parametrize("mode", ["async", "live"])
def test_nobody_waits_for_an_asynchronous_task(run: Callable, mode: str) -> None:
    async def test(queue: Queue) -> None:
        queue.redis.set(store.RESPONSE, 0)
        await queue.submit(mode)

    run(test)


def test_nobody_waits_for_a_task_that_was_refused(run: Callable) -> None:
    async def test(queue: Queue) -> None:
        await queue.submit("async")
        with pytest.raises(QueueFull):
            await queue.submit("sync")

    run(test)
