"""The executor behind the durable queue: tasks travel to the workers, their replies come back on one channel.

Each API process listens on a channel of its own; who waits for a task is a future on the event loop, so that a
waiting client costs no thread. Pub/sub loses messages while a connection is down: after each reconnect the records
of the tasks that are waited for are read again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import uuid
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from redis.exceptions import RedisError

from denzel.admission import why_refused
from denzel.executor import ACCEPTED, GONE, RAN_OUT, NotTaken, Outcome, QueueFull, Task, Tell, Unavailable
from denzel.log.about import REQUEST
from denzel.queue import keys, large, owner, readiness, store
from denzel.queue.api_connection import ApiConnection
from denzel.queue.broker import send_ticket
from denzel.queue.direct_way import DirectWay
from denzel.queue.nodes import overview
from denzel.queue.redis_errors import reason_of
from denzel.queue.submitter import Submitter
from denzel.queue.ticket import queue_settings
from denzel.queue.withdrawals import Withdrawals
from denzel.record import Ending
from denzel.settings import Settings
from denzel.timings import CallTimes

if sys.version_info >= (3, 11):
    from asyncio import timeout
else:
    from async_timeout import timeout

log = logging.getLogger("denzel.api")

# Redis must answer within this time (seconds), so that a client hears of a failure within 2.
PATIENCE = 1.7

# Seconds for which tasks wait for a process that was to be back at once, before another one is woken.
_HELD_BACK = 0.01

# Tickets that are sent at the same time through a broker of its own.
MOST_TICKETS = 8

T = TypeVar("T")


class QueueExecutor:
    """Submits tasks to Redis and waits for their replies; see `Executor` for the methods."""

    def __init__(self, settings: Settings) -> None:
        self.ending = False
        self._settings = settings
        self._channel = keys.REPLIES + keys.WITH_TIMES + uuid.uuid4().hex
        self._waiting: dict[str, _Wait] = {}
        self._queue_settings = queue_settings(settings)
        self._submitter = Submitter(self._send, self._stored)
        self._withdrawals = Withdrawals(self._withdraw)
        self._unneeded = Withdrawals(self._drop)
        self._tickets_under_way = 0
        self._to_detach: set[str] = set()
        self._detaching: asyncio.Task[None] | None = None
        self._nudging: asyncio.Task[None] | None = None
        self._watch = readiness.Watch(self._look_at_workers)
        self._direct = DirectWay(
            settings, self._channel, self._ask, self._ended_directly, self._returned, self._send_tickets
        )

    @classmethod
    def of_service(cls, settings: Settings) -> QueueExecutor:
        """The API's own; ends this process where the names in Redis belong to another project."""
        owner.check_at_start(settings)
        return cls(settings)

    async def start(self) -> None:
        self._client = owner.api_client(self._settings.redis_url, PATIENCE)
        self._lane = ApiConnection(self._settings.redis_url, self._channel, self._deliver, self._catch_up)
        self._listener = asyncio.create_task(self._lane.run())
        self._watching = asyncio.create_task(self._watch.run())
        self._direct.start(self._lane)

    async def stop(self) -> None:
        await self._direct.stop()
        await self._withdrawals.stop()
        await self._unneeded.stop()
        for task in (self._listener, self._watching, self._detaching, self._nudging):
            while task and not task.done():  # a cancellation may be lost while Redis is asked
                task.cancel()
                await asyncio.wait([task], timeout=0.5)
        await self._client.aclose()

    async def submit(self, task: Task) -> Outcome:
        try:
            outcome = await self._submit(task)
        except BaseException:
            self._forget_request(task)
            raise
        if outcome is GONE:
            self._forget_request(task)
        return outcome

    async def _submit(self, task: Task) -> Outcome:
        wait = _Wait(asyncio.get_running_loop().create_future())
        if not task.awaited:
            await self._put_if_large(task)
            self._submitter.submit(task, wait.future)
            return await wait.future
        await self._watch.check(task.mode)
        if self.begin(task, None) is None:
            # One wait for both: that the task is accepted (or not), and its outcome.
            wait.task, self._waiting[task.id] = task, wait
            task.reply_to = self._channel
            try:
                await self._put_if_large(task)
            except BaseException:
                del self._waiting[task.id]
                raise
            self._submitter.submit(task, wait.future)
        return await self.finish(task)

    def begin(self, task: Task, tell: Tell | None) -> asyncio.Future[Outcome] | None:
        seconds = self._waits_directly(task)
        if not seconds or not self._direct.give(task):
            return None
        loop = asyncio.get_running_loop()
        wait = self._waiting[task.id] = _Wait(loop.create_future(), None, task, tell=tell, seconds=seconds)
        wait.timer = loop.call_later(seconds, _end, wait.future, RAN_OUT)
        task.reply_to = self._channel
        return wait.future

    async def finish(self, task: Task) -> Outcome:
        wait = self._waiting[task.id]
        try:
            outcome = await wait.future
            if outcome is GONE:
                self._withdrawals.add(task.id)
                return GONE
            if outcome is not RAN_OUT:
                return outcome
            kept = wait.is_stored or await self._direct.keep(task.id)
            if wait.late:
                return wait.late
            if not kept:
                await self._store_after_all(task)
            return await self._detached(task.id)
        finally:
            if wait.timer:
                wait.timer.cancel()
            del self._waiting[task.id]
            self._direct.forget(task.id)

    async def _put_if_large(self, task: Task) -> None:
        """Store a large request, so that from now on it travels by name. Raises Unavailable."""
        if large.is_large(task.request):
            await self._ask(large.put(self._lane, task.id, task.request))
            task.request = b""

    def _forget_request(self, task: Task) -> None:
        """A task was not accepted, as far as is known: a request that was put need not take room until it expires."""
        if not task.request:
            self._unneeded.add(task.id)

    async def _drop(self, task_ids: Sequence[str]) -> None:
        await self._ask(large.drop(self._lane, task_ids))

    async def _store_after_all(self, task: Task) -> None:
        """The client is to poll, and no process has the task any more. Raises QueueFull, Unavailable."""
        task.mode, task.wait, task.fault = "sync", 0, task.fault or self._direct.fault_of(task.id)
        submitted = await self._send([task])
        if refused := submitted.refused.get(task.id):
            raise self._queue_full(submitted.waiting, *refused, None)

    def _waits_directly(self, task: Task) -> float:
        """Seconds for which the client of a task waits that need not be stored first; 0 for all others."""
        if task.kept or self.ending or not self._lane.is_connected:
            return 0.0
        if task.mode == "live":
            return store.parse_response(self._lane.response, self._settings.sync_timeout)
        return task.wait or 0.0 if task.mode == "sync" else 0.0

    def _ended_directly(self, task_id: str, ending: Ending, model: str, times: CallTimes) -> None:
        status, result, message = ending
        wait = self._waiting.get(task_id)
        if status == "SUCCESS" and wait and wait.tell and not wait.future.done():
            del self._waiting[task_id]
            if wait.timer:
                wait.timer.cancel()
            wait.tell(result, model, times)
        elif wait:
            wait.late = Outcome(status, result if status == "SUCCESS" else message, model, times)
            _end(wait.future, wait.late)

    def _returned(self, task_id: str, fault: str) -> None:
        """A process has not run this task, or died of it, perhaps: it goes through the queue."""
        wait = self._waiting.get(task_id)
        if wait and wait.task and not wait.future.done():
            wait.task.mode = "sync"  # as it was when the request came
            wait.task.wait = wait.task.wait or wait.seconds
            wait.task.fault = fault
            self._submitter.submit(wait.task, wait.future)

    def _stored(self, task: Task, future: asyncio.Future[Outcome], submitted: store.Submitted) -> None:
        """Redis has the task, or no room for it: end the wait, or bound it."""
        wait = self._waiting.get(task.id)
        if wait and task.id not in submitted.refused:
            wait.is_stored = True
        if future.done():  # the outcome was there first, or the client has gone
            if not future.cancelled() and future.exception() is None and future.result() is GONE:
                self._withdrawals.add(task.id)
            return
        seconds = task.wait if task.mode == "sync" else submitted.live if task.mode == "live" else 0
        if refused := submitted.refused.get(task.id):
            future.set_exception(self._queue_full(submitted.waiting, *refused, seconds))
        elif wait and wait.future is future and wait.timer:  # a process had it first
            pass
        elif not seconds or not task.awaited:
            future.set_result(ACCEPTED)
        elif self.ending:
            future.set_result(RAN_OUT)
        else:
            self._waiting[task.id].timer = future.get_loop().call_later(seconds, _end, future, RAN_OUT)

    def _queue_full(self, waiting: int, expected: float | None, after: int, seconds: float | None) -> Exception:
        if not after:
            return NotTaken("Redis has lost the request; send it again")
        if expected is None:
            return QueueFull(f"{waiting} tasks are waiting already", after)
        why = why_refused(expected, seconds or self._settings.max_wait_async, not seconds)
        return QueueFull(why, after, f"in {after} s")

    async def _detached(self, task_id: str) -> Outcome:
        """What is to be told at the end of a wait: the outcome after all, or that the task goes on by itself."""
        try:
            found = await self._ask(store.detach(self._client, self._queue_settings, task_id))
        except Unavailable:
            self._detach_later(task_id)
            return RAN_OUT
        return _outcome(found) if found else RAN_OUT

    async def _send(self, tasks: Sequence[Task]) -> store.Submitted:
        settings = self._settings
        for task in tasks:  # one that comes back from a process
            await self._put_if_large(task)
        submitted = await self._ask(
            store.submit(
                *(self._lane, self._queue_settings, tasks, settings.max_queue),
                *(settings.sync_timeout, settings.max_wait_async),
            )
        )
        self._direct.in_queue = submitted.waiting
        self._send_tickets(submitted.tickets)
        if submitted.held_back and self._nudging is None:
            self._nudging = asyncio.create_task(self._nudge())
        return submitted

    async def _nudge(self) -> None:
        """See to it that tasks which nobody was woken for do not wait for long."""
        REQUEST.set(())
        held_back = True
        try:
            while held_back:
                await asyncio.sleep(_HELD_BACK)
                tickets, held_back = await self._ask(store.nudge(self._lane, self._queue_settings))
                self._send_tickets(tickets)
        except Unavailable:
            pass  # the supervisors' heartbeats wake workers, too
        finally:
            self._nudging = None

    def _send_tickets(self, count: int) -> None:
        """Wake workers through the broker. The tasks are safe already: a failure here only delays them."""
        if self._queue_settings.ticket_queue:
            return  # the script has written them
        loop = asyncio.get_running_loop()
        for _ in range(count):
            if self._tickets_under_way < MOST_TICKETS:
                self._tickets_under_way += 1
                loop.run_in_executor(None, send_ticket).add_done_callback(self._ticket_sent)

    def _ticket_sent(self, future: asyncio.Future[None]) -> None:
        self._tickets_under_way -= 1
        if error := future.exception():
            log.warning("The broker took no message (%s); the task waits until it does", error)

    def withdraw(self, task_id: str) -> None:
        if wait := self._waiting.get(task_id):
            _end(wait.future, GONE)

    async def _withdraw(self, task_ids: Sequence[str]) -> None:
        await self._ask(store.withdraw(self._lane, self._queue_settings, task_ids))

    def end_waits(self) -> None:
        self.ending = True
        for wait in self._waiting.values():
            if wait.timer:  # else it is not accepted yet
                _end(wait.future, RAN_OUT)

    def _detach_later(self, task_id: str) -> None:
        """The client was told to poll, so the result must be kept for it, even if Redis cannot be told just now."""
        self._to_detach.add(task_id)
        if self._detaching is None or self._detaching.done():
            self._detaching = asyncio.create_task(self._detach())

    async def _detach(self) -> None:
        REQUEST.set(())
        while self._to_detach:
            await asyncio.sleep(0.5)
            with contextlib.suppress(Unavailable):
                for task_id in list(self._to_detach):
                    await self._ask(store.detach(self._client, self._queue_settings, task_id))
                    self._to_detach.discard(task_id)

    async def status(self, task_id: str) -> dict[str, Any] | None:
        return await self._ask(store.status(self._client, task_id))

    async def cancel(self, task_id: str) -> str | None:
        return await self._ask(store.cancel(self._client, self._queue_settings, task_id))

    async def reserve(self, key: str, digest: str, task_id: str) -> tuple[str, str]:
        return await self._ask(store.reserve(self._client, key, digest, task_id))

    async def release(self, key: str, task_id: str) -> None:
        await self._ask(store.release(self._client, key, task_id))

    async def response_timeout(self) -> float:
        return await self._ask(store.response_timeout(self._client, self._settings.sync_timeout))

    async def readiness(self) -> dict[str, Any]:
        try:
            return readiness.body(*await self._ask(overview(self._client)))
        except Unavailable as error:
            return {"ready": False, "reason": str(error), "workers": [], "queue": None}

    async def _look_at_workers(self) -> tuple[dict[str, Any], float]:
        return readiness.body(*await self._ask(overview(self._client))), await self.response_timeout()

    async def _ask(self, request: Awaitable[T]) -> T:
        """Await a request to Redis, within the time a client can be kept waiting."""
        try:
            async with timeout(PATIENCE):
                return await request
        except (RedisError, OSError, asyncio.TimeoutError) as error:
            reason = reason_of(error)
            log.warning("Redis did not serve a request: %s", reason, extra={"kind": reason})
            raise Unavailable(reason) from error

    def _deliver(self, lines: bytes) -> None:
        for line in lines.split(b"\n"):
            task_id, status, payload = line.split(b" ", 2)
            head, _, model = status.decode().partition("/")
            state, _, times = head.partition(";")
            self._resolve(task_id.decode(), Outcome(state, payload, model, CallTimes.parse(times, model)))

    async def _catch_up(self) -> None:
        for task_id in list(self._waiting):
            found = await store.ending(self._client, task_id)
            if found:
                self._resolve(task_id, _outcome(found))

    def _resolve(self, task_id: str, outcome: Outcome) -> None:
        wait = self._waiting.get(task_id)
        if wait and not wait.future.done():
            wait.future.set_result(outcome)


@dataclass(slots=True)
class _Wait:
    """A client that waits; there is a timer from when its task is accepted, or given to a process."""

    future: asyncio.Future[Outcome]
    timer: asyncio.TimerHandle | None = None
    task: Task | None = None
    is_stored: bool = False
    seconds: float = 0.0
    tell: Tell | None = None
    late: Outcome | None = None  # of a task that came directly, and may have ended in the moment that its wait did


def _end(future: asyncio.Future[Outcome], outcome: Outcome) -> None:
    """End a wait, unless it has ended."""
    if not future.done():
        future.set_result(outcome)


def _outcome(found: list[bytes]) -> Outcome:
    status, result, message, model, times = found
    version = (model or b"").decode()
    payload = result if status == b"SUCCESS" else message
    return Outcome(status.decode(), payload, version, CallTimes.parse((times or b"").decode(), version))
