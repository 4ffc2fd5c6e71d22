"""Tasks go at once when no round trip is under way, and together otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import pytest

from denzel.executor import QueueFull, Task
from denzel.log.about import REQUEST, About
from denzel.queue.submitter import MOST_BYTES, MOST_TASKS, Submitter
from denzel.queue.withdrawals import Withdrawals


def task(name: str, size: int = 1) -> Task:
    return Task(id=name, request=b"x" * size, mode="live", callback_uri=None)


class Trips:
    """Round trips that end when told to."""

    def __init__(self) -> None:
        self.sent: list[list[str]] = []
        self.answers: asyncio.Queue[float | Exception] = asyncio.Queue()

    async def send(self, tasks: Sequence[Task]) -> float:
        self.sent.append([task.id for task in tasks])
        answer = await self.answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer


class Client:
    """Submits tasks, and waits until they are accepted."""

    def __init__(self, send: Callable[[Sequence[Task]], Awaitable[float]]) -> None:
        self._submitter = Submitter(send, lambda task, future, answer: future.done() or future.set_result(answer))

    async def submit(self, task: Task) -> float:
        future = asyncio.get_running_loop().create_future()
        self._submitter.submit(task, future)
        return await future


async def turns() -> None:
    """Let everything that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 10))


def test_a_lone_task_goes_at_once() -> None:
    async def test() -> None:
        trips = Trips()
        submitted = asyncio.create_task(Client(trips.send).submit(task("a")))
        await turns()
        assert trips.sent == [["a"]]
        trips.answers.put_nowait(5.0)
        assert await submitted == 5.0

    run(test())


def test_what_comes_during_a_round_trip_goes_together_in_the_next() -> None:
    async def test() -> None:
        trips = Trips()
        client = Client(trips.send)
        first = asyncio.create_task(client.submit(task("a")))
        await turns()
        others = [asyncio.create_task(client.submit(task(name))) for name in "bcd"]
        await turns()
        assert trips.sent == [["a"]]
        trips.answers.put_nowait(1.0)
        await first
        await turns()
        assert trips.sent == [["a"], ["b", "c", "d"]]
        trips.answers.put_nowait(2.0)
        assert await asyncio.gather(*others) == [2.0] * 3

    run(test())


def test_a_round_trip_is_bounded_in_tasks_and_bytes() -> None:
    async def test() -> None:
        trips = Trips()
        client = Client(trips.send)
        large = [task(f"large{number}", MOST_BYTES // 2 + 1) for number in range(2)]
        small = [task(str(number)) for number in range(MOST_TASKS + 5)]
        huge = task("huge", MOST_BYTES * 2)
        submitted = [asyncio.create_task(client.submit(each)) for each in (*large, *small, huge)]
        for _ in range(10):
            trips.answers.put_nowait(1.0)
        await asyncio.gather(*submitted)
        sizes = [len(sent) for sent in trips.sent]
        assert [name for sent in trips.sent for name in sent] == [each.id for each in (*large, *small, huge)]
        assert max(sizes) <= MOST_TASKS
        assert trips.sent[0] == ["large0"]
        assert trips.sent[-1] == ["huge"]

    run(test())


def test_a_failure_is_told_to_everyone_of_that_round_trip_and_nobody_else() -> None:
    async def test() -> None:
        trips = Trips()
        client = Client(trips.send)
        first = asyncio.create_task(client.submit(task("a")))
        await turns()
        second = asyncio.create_task(client.submit(task("b")))
        await turns()
        trips.answers.put_nowait(QueueFull("full"))
        with pytest.raises(QueueFull):
            await first
        trips.answers.put_nowait(3.0)
        assert await second == 3.0
        third = asyncio.create_task(client.submit(task("c")))
        trips.answers.put_nowait(4.0)
        assert await third == 4.0

    run(test())


def test_a_client_that_leaves_does_not_disturb_the_others() -> None:
    async def test() -> None:
        trips = Trips()
        client = Client(trips.send)
        gone, stays = (asyncio.create_task(client.submit(task(name))) for name in "ab")
        await turns()
        gone.cancel()
        trips.answers.put_nowait(1.0)
        trips.answers.put_nowait(1.0)
        assert await stays == 1.0

    run(test())


def test_no_request_is_meant_by_what_is_said_of_many() -> None:
    async def test() -> None:
        said: list[About] = []

        async def send(_: Sequence[Any]) -> float:
            said.append(REQUEST.get())
            return 1.0

        REQUEST.set([("a", "")])
        await Client(send).submit(task("a"))
        withdrawals = Withdrawals(send)
        withdrawals.add("a")
        await withdrawals.stop()
        assert said == [(), ()]
        assert REQUEST.get() == [("a", "")]

    run(test())
