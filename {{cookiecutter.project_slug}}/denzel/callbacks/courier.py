"""Sees every callback to its end: leases what is due, has it sent, records what came of it.

What is to be sent waits in Redis, in the sorted set `callbacks` of task ids by due time: put there
together with the result, and taken out only when the callback has been delivered or given up. In between an
id is leased, by moving its due time ahead: if this process dies, the lease runs out and the callback is
sent (again) within seconds. So every callback is sent at least once, and receivers drop repeats by the
header `webhook-id`. Retries wait in Redis, too; this process holds what is due at the moment, within
bounds.

When a receiver does not answer, one callback at a time finds out whether it does again; if not, the others to it
wait as if they had been tried.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
from redis import asyncio as redis
from redis.exceptions import RedisError

from denzel import origin
from denzel.callback_addresses import CallbackPolicy, CallbackUriError
from denzel.callbacks.bounds import today
from denzel.callbacks.delivery import _read_state, advance, body_of, postpone
from denzel.callbacks.dispatcher import (
    CONNECTIONS,
    LIMIT_QUICK,
    MAX_HELD,
    RENEW_AFTER,
    Dispatcher,
    LeasedCallback,
    Receiver,
)
from denzel.callbacks.sender import NOT_ALLOWED, Attempt, Sender
from denzel.log import about
from denzel.log.sample import Sample
from denzel.metrics.counts import COUNTS
from denzel.queue import callbacks, keys
from denzel.queue.pubsub import messages
from denzel.record import FINAL
from denzel.tracing.spans import NO_SPANS, Spans

log = logging.getLogger("denzel.callbacks")

# Durations are in seconds.
LEASE = 8.0
POLL = 2.0  # wake-ups may get lost
PACE = 0.005  # between two exchanges with Redis under load, so that each carries many callbacks
KEEP = 3600  # a record outlives the next attempt by this, at least
DRAIN = 5.0  # for attempts under way when the process is to stop; shorter than containers are given


BATCH = 128  # ids leased at a time
WARN_AGAIN = 60  # a receiver that fails is logged this often


# ---- The process ----


@dataclass(frozen=True, slots=True)
class DeliveryUpdate:
    """For Redis: the id is due again in `delay` seconds (None: never), its delivery stands like `state`."""

    id: str
    delay: float | None
    state: bytes = b""  # empty: as before
    ended: bytes = b""  # when the task ended that this was about; "-": it had not; empty: does not matter


class Courier:
    """Leases what is due, has it sent, and records what came of it, until `stop` is called."""

    def __init__(
        self,
        client: redis.Redis,
        sender: Sender,
        policy: CallbackPolicy,
        span: float,
        expires: int,
        connections: int = CONNECTIONS,
        sample: float = 100,
        spans: Spans = NO_SPANS,
        of_one: int = LIMIT_QUICK,
        retries: int = 10_000,
    ) -> None:
        self._client = client
        self._sender = sender
        self._policy = policy
        self._span = span
        self._expires = expires
        self._spans = spans
        self._sample = Sample(log, sample, "attempts of callbacks")
        self._dispatcher = Dispatcher(connections, of_one)
        self._retries = retries
        self._notes: list[DeliveryUpdate] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._stopping = False

    def stop(self) -> None:
        """Lease nothing more, let the attempts under way end, give the rest back."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Deliver until stopped; survives any absence of Redis."""
        listener = asyncio.create_task(self._listen())
        pause = 0.0
        while not self._stopping:
            began = time.monotonic()
            self._wake.clear()
            try:
                seconds = await self._round()
                if pause:
                    log.warning("Redis serves again")
                pause = 0.0
            except (RedisError, OSError, asyncio.TimeoutError) as error:
                if not pause:
                    log.warning("Callbacks wait for Redis: %s", error)
                seconds = pause = min(1.0, pause * 2 + 0.05)
            await self._rest(began, seconds)
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)
        await self._drain()

    async def _rest(self, began: float, seconds: float) -> None:
        """Wait until there is something to do, and under load let a little of it gather."""
        timer = asyncio.get_running_loop().call_later(seconds, self._wake.set)
        await self._wake.wait()
        timer.cancel()
        left = began + PACE - time.monotonic()
        if left > 0 and not self._stopping:
            await asyncio.sleep(left)

    async def _round(self) -> float:
        """Record, lease, send; the seconds until the next round is due."""
        held, now = self._dispatcher.held, time.monotonic()
        if len(held) >= MAX_HELD:
            for delivery in self._dispatcher.relieve(now):
                self._send_back(delivery, now)
        room = min(BATCH, MAX_HELD - len(held))
        leased, next_due = await self._exchange(room)
        for row in leased:
            self._accept(*row)
        await self._start()
        if self._notes:
            return 0.0
        soon = RENEW_AFTER / 2 if held else POLL
        return soon if room == 0 else min(soon, max(0.0, next_due))

    async def _exchange(self, room: int) -> tuple[list[tuple[str, str, int, bytes]], float]:
        """Hand over notes, renew leases, lease up to `room` ids; them, and the seconds to the next due id."""
        # Renewals concern what is held, notes what is not any more: they cannot contradict each other.
        notes = self._notes[: 4 * BATCH]
        renewed = self._dispatcher.to_renew(4 * BATCH)
        arguments: list[Any] = []
        for note in (*notes, *(DeliveryUpdate(task_id, LEASE) for task_id in renewed)):
            arguments += (note.id, "" if note.delay is None else note.delay, note.state, note.ended)
        rows, next_due = await callbacks.exchange.call(self._client, LEASE, room, KEEP, self._expires, *arguments)
        del self._notes[: len(notes)]
        self._dispatcher.renew(renewed)
        leased = [(task_id.decode(), uri.decode(errors="replace"), *rest) for task_id, uri, *rest in rows]
        return leased, float(next_due or POLL)

    def _accept(self, task_id: str, uri: str, size: int, state: bytes) -> None:
        """Queue a leased callback at its receiver."""
        if task_id in self._dispatcher.held:  # its lease had run out, say while Redis was away
            return
        try:
            host, port = self._policy.check_uri(uri)
        except CallbackUriError as error:
            answer = Attempt(error=NOT_ALLOWED, refused=True, detail=f"{NOT_ALLOWED}: {error}")
            self._notes.append(self._conclude(task_id, None, state, answer))
            return
        receiver = self._dispatcher.receiver(f"{host}:{port}")
        now = time.monotonic()
        delivery = LeasedCallback(task_id, uri, receiver, size, state, now)
        if self._dispatcher.too_long(receiver, now):
            self._send_back(delivery, now)
        else:
            self._dispatcher.add(delivery)

    def _send_back(self, delivery: LeasedCallback, now: float) -> None:
        """Let a callback wait in Redis, as its receiver's queue is too long."""
        if not (delivery.receiver.broken and self._postpone(delivery)):
            self._notes.append(DeliveryUpdate(delivery.id, self._dispatcher.break_for(delivery.receiver, now)))

    async def _start(self) -> None:
        """Begin what may be sent now."""
        chosen = self._dispatcher.start()
        if not chosen:
            return
        try:
            refused = await self._beyond_retries(chosen)
            sent = [delivery for delivery in chosen if delivery.id not in refused]
            records = await callbacks.fetch.call(self._client, *(delivery.id for delivery in sent))
        except BaseException:
            self._dispatcher.undo(chosen)
            raise
        for delivery in refused.values():
            self._dispatcher.end(delivery)
            reason = f"not tried: {delivery.receiver.name} has had all retries of this day ({self._retries})"
            self._postpone(delivery, reason)
        for delivery, record in zip(sent, records, strict=True):
            fields = dict(zip(record[::2], record[1::2], strict=True))
            task = asyncio.create_task(self._deliver(delivery, fields))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _beyond_retries(self, chosen: Sequence[LeasedCallback]) -> dict[str, LeasedCallback]:
        """Those, by id, that are retries of receivers which have had all of this day. Raises what Redis does."""
        day, beyond = today(), {}
        by_receiver: dict[str, list[LeasedCallback]] = {}
        for delivery in chosen:
            if delivery.state and _read_state(delivery.state).get("attempts"):
                if delivery.receiver.exhausted == day:
                    beyond[delivery.id] = delivery
                else:
                    by_receiver.setdefault(delivery.receiver.name, []).append(delivery)
        if not by_receiver:
            return beyond
        counts = {name: len(deliveries) for name, deliveries in by_receiver.items()}
        for name, before in (await callbacks.count_retries(self._client, day, counts)).items():
            left = max(0, self._retries - before)
            if too_many := by_receiver[name][left:]:
                too_many[0].receiver.exhausted = day
                log.warning("Callbacks to %s are not tried again today: CALLBACK_RETRIES is %d", name, self._retries)
                beyond |= {delivery.id: delivery for delivery in too_many}
        return beyond

    async def _deliver(self, delivery: LeasedCallback, record: dict[bytes, bytes]) -> None:
        """Make one attempt and note what follows from it."""
        note = DeliveryUpdate(delivery.id, 0.0)  # given back, should this be cancelled
        try:
            note = await self._attempt(delivery, record)
        except Exception as error:
            log.exception("The callback of task %s could not be sent", delivery.id)
            answer = Attempt(error=f"internal error: {type(error).__name__}")
            note = self._conclude(delivery.id, delivery.receiver, delivery.state, answer)
        finally:
            note = replace(note, ended=record.get(b"ended", b"-"))
            self._dispatcher.end(delivery)
            self._notes.append(note)
            if delivery.receiver.broken:
                for waiting in self._dispatcher.empty(delivery.receiver):
                    if not self._postpone(waiting):
                        self._dispatcher.add(waiting)
            self._wake.set()

    async def _attempt(self, delivery: LeasedCallback, record: dict[bytes, bytes]) -> DeliveryUpdate:
        if record.get(b"status", b"").decode() not in FINAL:  # gone, or queued anew, meanwhile
            return DeliveryUpdate(delivery.id, None)
        came = origin.of_record(record)
        about.REQUEST.set([(delivery.id, came.text)])
        with self._spans.attempt(delivery.id, came, delivery.receiver.name) as attempt:
            headers = origin.for_receiver(delivery.id, attempt.origin)
            answer = await self._sender.send(delivery.id, delivery.uri, body_of(record), headers)
            attempt.end(answer.status, answer.logged)
        COUNTS.called_back(answer.error is None, answer.seconds)
        delivery.receiver.learn(answer)
        self._tell(delivery, answer)
        return self._conclude(delivery.id, delivery.receiver, delivery.state, answer)

    def _tell(self, delivery: LeasedCallback, answer: Attempt) -> None:
        """One line about an attempt; what warns of those that fail is `_conclude`."""
        if self._sample.admits(time.monotonic()):
            name, seconds = delivery.receiver.name, answer.seconds
            fields = {"receiver": name, "status": answer.status, "error": answer.logged, "ms": round(seconds * 1e3, 3)}
            came = answer.logged or f"HTTP {answer.status}"
            log.info("Callback to %s: %s in %.1f ms", name, came, seconds * 1e3, extra={"fields": fields})

    def _conclude(self, task_id: str, receiver: Receiver | None, before: bytes, answer: Attempt) -> DeliveryUpdate:
        """What follows from an attempt."""
        now = time.time()
        state, delay = advance(_read_state(before), answer, now, self._span)
        COUNTS.delivery(state["state"], state["attempts"])
        name = receiver.name if receiver else "an address"
        if state["state"] == "failed":
            log.warning("Task %s: its callback to %s failed for good: %s", task_id, name, answer.logged)
        elif delay is not None and receiver and now > receiver.warned + WARN_AGAIN:
            receiver.warned = now
            log.warning("Callbacks to %s fail: %s; trying again (task %s)", name, answer.logged, task_id)
        return DeliveryUpdate(task_id, delay, orjson.dumps(state))

    def _postpone(self, delivery: LeasedCallback, reason: str = "") -> bool:
        """Count an attempt as failed without making it; False when it is the only one there will be."""
        before = _read_state(delivery.state)
        receiver = delivery.receiver
        reason = reason or f"not tried: {receiver.name} gave no answer {receiver.failures} times in a row"
        state, delay = postpone(before, reason, time.time(), self._span)
        if delay is None and not before:
            return False
        COUNTS.delivery(state["state"], state["attempts"])
        self._notes.append(DeliveryUpdate(delivery.id, delay, orjson.dumps(state)))
        return True

    async def _listen(self) -> None:
        """Wake up when a task has ended; reconnects for ever."""
        while True:
            with contextlib.suppress(RedisError, OSError, asyncio.TimeoutError):
                async with self._client.pubsub() as pubsub:
                    await pubsub.subscribe(keys.CALLBACKS_WAKE)
                    async for _ in messages(pubsub):
                        self._wake.set()
            await asyncio.sleep(1)

    async def _drain(self) -> None:
        """Give back what waits, let the attempts under way end within a bound, and record them."""
        self._notes += [DeliveryUpdate(delivery.id, 0.0) for delivery in self._dispatcher.everything()]
        end = time.monotonic() + DRAIN
        while self._tasks and time.monotonic() < end:
            await self._hand_over()
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=0.5)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for _ in range(3):
            await self._hand_over()

    async def _hand_over(self) -> None:
        # Without Redis the leases run out by themselves.
        with contextlib.suppress(RedisError, OSError, asyncio.TimeoutError):
            while True:
                await self._exchange(0)
                if not self._notes:
                    return
