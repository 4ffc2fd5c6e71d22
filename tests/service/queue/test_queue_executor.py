"""The API's side of the queue: how a wait for a task ends, and that nothing is left of it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
import redis

from denzel.direct.door import DirectTask, Door
from denzel.direct.given import Given
from denzel.direct.links import Link
from denzel.direct.place import Place, folder_of
from denzel.executor import ACCEPTED, RAN_OUT, Outcome, QueueFull, Task
from denzel.log.about import REQUEST, About
from denzel.queue import claims, keys, store
from denzel.queue.executor import QueueExecutor
from denzel.queue.ticket import queue_settings
from denzel.settings import Settings
from denzel.timings import CallTimes
from tests.support.services import Service


class Queue:
    """An executor on a Redis that holds nothing, with one place; a process that works when told to."""

    def __init__(self, service: Service) -> None:
        self.redis = service.redis
        self.settings = Settings.from_environment({"REDIS_URL": service.redis_url, "MAX_QUEUE": "1"})
        self.executor = QueueExecutor(self.settings)

    async def submit(self, mode: str, wait: float | None = None) -> Outcome:
        """Send a task; how it ended."""
        self.task_id = str(uuid.uuid4())
        return await self.executor.submit(Task(self.task_id, b"{}", mode, None, wait))

    async def begin(self, wait: float) -> asyncio.Task[Outcome]:
        """Send a task that somebody waits for, and go on when it is accepted."""
        submitted = asyncio.create_task(self.submit("sync", wait))
        while not self.redis.llen("denzel/tested:waiting"):
            await asyncio.sleep(0.001)
        return submitted

    def work(self, *times: CallTimes) -> None:
        """Run the task that waits; without times as a worker from before an update does."""
        claimant, terms = claims.Claimant("token", "worker@tested"), queue_settings(self.settings)
        [(task_id, _)], _ = claims.work(self.redis, terms, claimant, [])
        claims.work(self.redis, terms, claimant, [(task_id, "SUCCESS", b'{"a":1}', b"", *times)], 0)


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
        submitted = await queue.begin(10)
        queue.work()
        assert await submitted == Outcome("SUCCESS", b'{"a":1}')

    run(test)


def test_the_times_of_the_call_come_with_it(run: Callable) -> None:
    async def test(queue: Queue) -> None:
        submitted = await queue.begin(10)
        queue.work(CallTimes(0.001, 0.002, 3, 0.004))
        times = (await submitted).times
        assert (times.process, times.predict, times.batch, times.call) == (0.001, 0.002, 3, 0.004)
        record = queue.redis.hgetall(f"denzel/tested:task:{queue.task_id}")
        assert record[b"times"] == b"1000,2000,3,4000"

    run(test)


def test_an_api_process_from_before_an_update_is_told_no_times(run: Callable) -> None:
    async def test(queue: Queue) -> None:
        queue.executor._channel = f"{keys.REPLIES}before"
        pubsub = queue.redis.pubsub(ignore_subscribe_messages=True)
        pubsub.subscribe(queue.executor._channel)
        pubsub.get_message(timeout=1)
        submitted = await queue.begin(10)
        queue.work(CallTimes(0.001, 0.002, 3, 0.004))
        message = pubsub.get_message(timeout=5)
        assert message["data"] == f'{queue.task_id} SUCCESS {{"a":1}}'.encode()
        submitted.cancel()
        await asyncio.wait([submitted])
        pubsub.close()

    run(test)


def test_who_has_waited_long_enough_gets_nothing(run: Callable) -> None:
    async def test(queue: Queue) -> None:
        assert await queue.submit("sync", 0.05) is RAN_OUT
        assert queue.redis.hget(f"denzel/tested:task:{queue.task_id}", "mode") == b"poll"

    run(test)


def test_an_outcome_that_was_never_heard_of_is_found_at_the_end_of_the_wait(run: Callable) -> None:
    async def test(queue: Queue) -> None:
        submitted = await queue.begin(0.2)
        queue.redis.hset(f"denzel/tested:task:{queue.task_id}", "reply_to", "nobody")
        queue.work()
        assert await submitted == Outcome("SUCCESS", b'{"a":1}')

    run(test)


def test_an_outcome_may_come_before_the_word_that_its_task_was_accepted(run: Callable) -> None:
    async def test(queue: Queue) -> None:
        accepted, queue.executor._submitter._accepted = queue.executor._stored, lambda *arguments: None
        submitted = await queue.begin(10)
        queue.work()
        assert await submitted == Outcome("SUCCESS", b'{"a":1}')
        future = asyncio.get_running_loop().create_future()
        future.set_result(Outcome("SUCCESS", b"{}"))
        accepted(Task(queue.task_id, b"{}", "sync", None, 10), future, store.Submitted(0.0, 1, 0, False))

    run(test)


def test_a_client_that_leaves_is_not_waited_for(run: Callable) -> None:
    async def test(queue: Queue) -> None:
        submitted = await queue.begin(10)
        submitted.cancel()
        await asyncio.wait([submitted])

    run(test)


def test_a_client_that_leaves_before_its_task_is_accepted_is_not_waited_for(run: Callable) -> None:
    async def test(queue: Queue) -> None:
        submitted = asyncio.create_task(queue.submit("sync", 10))
        await asyncio.sleep(0)
        submitted.cancel()
        await asyncio.wait([submitted])
        assert submitted.cancelled()

    run(test)


def test_the_end_of_the_process_ends_waits_once_their_tasks_are_accepted(run: Callable) -> None:
    async def test(queue: Queue) -> None:
        before = await queue.begin(10)
        queue.executor.end_waits()
        assert await before is RAN_OUT
        queue.work()
        during = asyncio.create_task(queue.submit("sync", 10))
        await asyncio.sleep(0)
        queue.executor.end_waits()
        assert not during.done()
        assert await during is RAN_OUT
        assert queue.redis.hget(f"denzel/tested:task:{queue.task_id}", "mode") == b"poll"

    run(test)


def test_a_second_submission_of_a_task_leaves_the_first_ones_wait_alone(run: Callable) -> None:
    async def test(queue: Queue) -> None:
        submitted = await queue.begin(10)
        again = Task(queue.task_id, b"{}", "sync", None, 10, awaited=False)
        assert await queue.executor.submit(again) is ACCEPTED
        queue.work()
        assert await submitted == Outcome("SUCCESS", b'{"a":1}')

    run(test)


@pytest.mark.parametrize("mode", ["async", "live"])
def test_nobody_waits_for_an_asynchronous_task(run: Callable, mode: str) -> None:
    async def test(queue: Queue) -> None:
        queue.redis.set(keys.RESPONSE, 0)
        assert await queue.submit(mode) is ACCEPTED

    run(test)


@pytest.mark.parametrize("mode", ["async", "live"])
def test_an_asynchronous_task_that_ends_at_once_is_answered_by_its_acceptance(run: Callable, mode: str) -> None:
    """Also when the connection broke before the word of that came: then outcomes are looked for."""

    async def test(queue: Queue) -> None:
        queue.redis.set(keys.RESPONSE, 0)
        send = queue.executor._submitter._send

        async def slowly(tasks: Sequence[Task]) -> store.Submitted:
            submitted = await send(tasks)
            queue.work()
            await queue.executor._catch_up()
            return submitted

        queue.executor._submitter._send = slowly
        assert await queue.submit(mode) is ACCEPTED

    run(test)


def test_what_comes_together_is_refused_only_where_there_is_no_room(run: Callable) -> None:
    async def test(queue: Queue) -> None:
        answers = await asyncio.gather(*(queue.submit("async") for _ in range(3)), return_exceptions=True)
        assert answers[0] is ACCEPTED
        assert [str(answer) for answer in answers[1:]] == ["1 tasks are waiting already"] * 2

    run(test)


def test_nobody_waits_for_a_task_that_was_refused(run: Callable) -> None:
    async def test(queue: Queue) -> None:
        await queue.submit("async")
        with pytest.raises(QueueFull):
            await queue.submit("sync", 10)

    run(test)


# ---- Tasks that a process was given directly -------------------------------------------------------------------------


class DirectQueue(Queue):
    """The same, with a process beside it that takes tasks directly when told to."""

    def __init__(self, service: Service, folder: Path) -> None:
        super().__init__(service)
        self.settings = Settings.from_environment({"REDIS_URL": service.redis_url, "DIRECT_FOLDER": str(folder)})
        self.executor = QueueExecutor(self.settings)
        place = folder_of(self.settings)
        assert place
        self.door = Door(Place(place), uuid.uuid4().hex, "one@tested", merges=False)

    async def give(self) -> tuple[Task, list[DirectTask]]:
        """A task that the process has begun."""
        while True:
            task = Task(str(uuid.uuid4()), b"{}", "sync", None, 30)
            if self.executor.begin(task, None):
                break
            self.door.has_tasks()
            await asyncio.sleep(0.01)
        while not (taken := self.door.take(lambda waiting: waiting)):
            await asyncio.sleep(0.01)
        return task, taken

    def record(self, task: Task) -> dict[bytes, bytes]:
        return self.redis.hgetall(f"denzel/tested:task:{task.id}")


@pytest.fixture
def run_direct(redis_service: Service, empty_redis: redis.Redis, tmp_path: Path) -> Callable[[Callable], None]:
    """Call it with a test; nobody may be waited for after it."""

    async def main(test: Callable[[DirectQueue], Awaitable[None]]) -> None:
        queue = DirectQueue(redis_service, tmp_path)
        await queue.executor.start()
        try:
            await test(queue)
            assert queue.executor._waiting == {}
        finally:
            await queue.executor.stop()
            queue.door.close()

    return lambda test: asyncio.run(main(test))


def test_an_answer_that_comes_in_the_moment_in_which_the_wait_ends_is_told(run_direct: Callable) -> None:
    async def test(queue: DirectQueue) -> None:
        task, taken = await queue.give()
        queue.executor.end_waits()
        queue.door.answer(taken, [(task.id, "SUCCESS", b'{"a":1}', b"")], 0.001, 1)
        while queue.executor._direct._given:
            await asyncio.sleep(0.01)
        assert await queue.executor.finish(task) == Outcome("SUCCESS", b'{"a":1}')
        while not queue.record(task):
            await asyncio.sleep(0.01)
        assert queue.record(task)[b"status"] == b"SUCCESS", "it has not run again"
        assert queue.record(task)[b"attempts"] == b"1"

    run_direct(test)


@pytest.mark.parametrize("turns", range(6))
def test_who_is_told_to_poll_finds_the_task_although_its_process_dies_in_that_moment(
    run_direct: Callable, turns: int
) -> None:
    """At each of the event loop's turns from the end of the wait on."""

    async def test(queue: DirectQueue) -> None:
        task, _ = await queue.give()
        link = queue.executor._direct._given[task.id].link
        queue.executor.end_waits()
        finishing = asyncio.ensure_future(queue.executor.finish(task))
        for _ in range(turns):
            await asyncio.sleep(0)
        link._end(blame=True)
        assert await finishing is RAN_OUT
        assert queue.record(task)[b"mode"] == b"poll"
        waits = queue.redis.lrange("denzel/tested:waiting", 0, -1) == [task.id.encode()]
        claimed = queue.redis.smembers(keys.CLAIMS + link.token) == {
            task.id.encode()
        }  # until the process counts as dead
        assert waits or claimed

    run_direct(test)


def test_what_a_task_is_suspected_of_goes_with_it_although_its_wait_ends(run_direct: Callable) -> None:
    async def test(queue: DirectQueue) -> None:
        task, _ = await queue.give()
        direct = queue.executor._direct
        unlisted = asyncio.Event()
        ask, direct._ask = direct._ask, lambda request: _later(unlisted, ask, request)
        queue.door.tell_call(1)
        direct._given[task.id].link._end(blame=True)
        await asyncio.sleep(0)  # Redis is slow
        queue.executor.end_waits()
        assert await queue.executor.finish(task) is RAN_OUT
        unlisted.set()
        while direct._faults:
            await asyncio.sleep(0.01)
        assert (task.fault, direct._faults) == ("death", {})
        assert queue.record(task)[b"mode"] == b"poll"

    run_direct(test)


async def _later(event: asyncio.Event, ask: Callable, request: Awaitable) -> object:
    await event.wait()
    return await ask(request)


def test_what_goes_on_behind_a_request_is_said_of_no_other_one(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(queue: Queue) -> None:
        said: dict[str, About] = {}

        async def say(name: str, answer: object) -> object:
            said[name] = REQUEST.get()
            return answer

        monkeypatch.setattr(store, "submit", lambda *_: say("submit", store.Submitted(0.0, 0, 0, True, {})))
        monkeypatch.setattr(store, "nudge", lambda *_: say("nudge", (0, False)))
        monkeypatch.setattr(store, "detach", lambda *_: say("detach", None))
        monkeypatch.setattr(store, "promote", lambda *_: say("promote", 0))
        monkeypatch.setattr(store, "unlist", lambda *_: say("unlist", None))
        executor, direct = queue.executor, queue.executor._direct
        direct._client = executor._lane
        REQUEST.set([("mine", "")])
        await executor._send([Task("mine", b"{}", "sync", None)])  # as after a wait that was told directly
        executor._detach_later("mine")
        long, lost = (Given(name, b"{}", Link(None, name), 0.0, 0.0, "its origin") for name in ("long", "lost"))  # type: ignore[arg-type]
        direct._given.update(long=long, lost=lost)
        direct._runs_long(long)
        direct._lost(lost.link, [(lost, "alone")])
        for _ in range(1000):
            if len(said) == 5:
                break
            await asyncio.sleep(0.01)
        mine, nobody = [("mine", "")], ()
        assert said.pop("promote") == [("long", "its origin")]
        assert said == {"submit": mine, "nudge": nobody, "detach": nobody, "unlist": nobody}

    run(test)
