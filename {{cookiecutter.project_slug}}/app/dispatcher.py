"""Decides which callback is sent next: fairly among the receivers, within bounds on connections and memory.

A receiver (host and port) gets few connections at first, more while it answers well, and a single one when
it does not answer. Those that have not shown to be quick share a part of the connections, so that however
many of them hang, the quick ones are served.
"""

from __future__ import annotations

import random
import time
from collections import deque
from dataclasses import dataclass, field
from itertools import islice, takewhile

from app.webhook import Answer

CONNECTIONS = 1000
SLOW_SHARE = 0.75  # of the connections, for receivers that have not shown to be quick
QUICK = 1.0  # seconds until an answer
LIMIT_START, LIMIT_SLOW, LIMIT_QUICK = 4, 16, 100  # connections to one receiver
BROKEN_AFTER = 4  # attempts in a row without any answer
LONG_QUEUE = 5.0  # seconds that it would take; longer ones make room for others when there is none left
LONGEST_BREAK = 60.0  # seconds
RENEW_AFTER = 3.0  # seconds
MAX_BYTES = 64 << 20  # of the bodies being sent
MAX_RECEIVERS = 10_000  # remembered


@dataclass(slots=True)
class Delivery:
    """A leased callback."""

    id: str
    uri: str
    receiver: Receiver
    size: int
    state: bytes
    leased: float
    slow: bool = False  # uses the share of the slow receivers


@dataclass(slots=True)
class Receiver:
    """A host and port that callbacks go to, and what was learnt of it."""

    name: str
    limit: int = LIMIT_START
    active: int = 0
    failures: int = 0
    quick: bool = False
    warned: float = 0.0
    listed: bool = False  # among those that have something waiting
    waiting: deque[Delivery] = field(default_factory=deque)
    measured_from: float = 0.0  # its pace
    ended: int = 0

    @property
    def broken(self) -> bool:
        """It does not answer: one attempt at a time finds out when it does again."""
        return self.failures >= BROKEN_AFTER

    @property
    def room(self) -> bool:
        """True if it may get another connection as far as it is concerned."""
        return self.active < min(self.limit, LIMIT_QUICK if self.quick else LIMIT_SLOW)

    def queue_time(self, now: float) -> float:
        """The seconds that what waits will take at the present pace."""
        return len(self.waiting) * (now - self.measured_from) / (self.ended + 1)

    def measure(self) -> None:
        """Begin to measure the pace."""
        self.measured_from, self.ended = time.monotonic(), 0

    def learn(self, answer: Answer) -> None:
        """Adapt to how an attempt went."""
        if answer.refused:
            return
        if answer.status is None:
            self.failures += 1
            self.quick = False
        else:
            self.failures = 0
            self.quick = answer.seconds <= QUICK
        if answer.status is None or answer.status == 429 or answer.status >= 500:
            self.limit = max(1, self.limit // 2)
        else:
            self.limit = min(LIMIT_QUICK, self.limit + 1)


class Dispatcher:
    """Holds what is leased and decides what is sent next, fairly among the receivers."""

    def __init__(self, connections: int = CONNECTIONS) -> None:
        self.held: dict[str, float] = {}  # id -> when its lease was last renewed, oldest first
        self._receivers: dict[str, Receiver] = {}
        self._listed: deque[Receiver] = deque()  # those with something waiting
        self._connections = connections
        self._active = self._slow = self._bytes = 0

    def receiver(self, name: str) -> Receiver:
        """The receiver of this name (host:port)."""
        if name not in self._receivers:
            if len(self._receivers) >= MAX_RECEIVERS:
                self._receivers = {
                    key: known for key, known in self._receivers.items() if known.active or known.waiting
                }
            self._receivers[name] = Receiver(name)
        return self._receivers[name]

    def add(self, delivery: Delivery) -> None:
        """Let a leased callback wait for its turn."""
        self.held[delivery.id] = delivery.leased
        delivery.receiver.waiting.append(delivery)
        self._list(delivery.receiver)

    def _list(self, receiver: Receiver) -> None:
        if not receiver.listed:
            receiver.measure()
            receiver.listed = True
            self._listed.append(receiver)

    def start(self) -> list[Delivery]:
        """Take what is to be sent now: the receivers take turns."""
        chosen, full = [], []
        while self._listed and self._active < self._connections:
            receiver = self._listed.popleft()
            if not receiver.waiting:
                receiver.listed = False
            elif not self._has_room(receiver):
                full.append(receiver)
            else:
                delivery = receiver.waiting.popleft()
                delivery.slow = not receiver.quick
                self._count(delivery, 1)
                chosen.append(delivery)
                self._listed.append(receiver)
        self._listed.extend(full)
        return chosen

    def _has_room(self, receiver: Receiver) -> bool:
        if not receiver.room or (self._active and self._bytes + receiver.waiting[0].size > MAX_BYTES):
            return False
        return receiver.quick or self._slow < self._connections * SLOW_SHARE

    def to_renew(self, most: int) -> list[str]:
        """Ids whose leases should be renewed."""
        old = time.monotonic() - RENEW_AFTER
        return list(islice(takewhile(lambda task_id: self.held[task_id] < old, self.held), most))

    def renew(self, ids: list[str]) -> None:
        """The leases of these ids have been renewed."""
        now = time.monotonic()
        for task_id in ids:
            if self.held.pop(task_id, None) is not None:
                self.held[task_id] = now

    def undo(self, chosen: list[Delivery]) -> None:
        """Put back what could not be started."""
        for delivery in reversed(chosen):
            self._count(delivery, -1)
            delivery.receiver.waiting.appendleft(delivery)
            self._list(delivery.receiver)

    def end(self, delivery: Delivery) -> None:
        """An attempt is over; its id is not held any more."""
        self._count(delivery, -1)
        self.held.pop(delivery.id, None)
        delivery.receiver.ended += 1

    def _count(self, delivery: Delivery, step: int) -> None:
        delivery.receiver.active += step
        self._active += step
        self._bytes += step * delivery.size
        if delivery.slow:
            self._slow += step

    def empty(self, receiver: Receiver) -> list[Delivery]:
        """Take all that waits for a receiver."""
        return self._release(receiver, len(receiver.waiting))

    def relieve(self, now: float) -> list[tuple[Delivery, float]]:
        """Take half of the longest queue, as others may be waiting behind it in Redis.

        Returns: what was taken, and in how many seconds it should be back: before the rest has been sent.
        """
        slowest = max(self._listed, key=lambda receiver: receiver.queue_time(now), default=None)
        seconds = slowest.queue_time(now) if slowest else 0.0
        if slowest is None or seconds < LONG_QUEUE:
            return []
        released = self._release(slowest, len(slowest.waiting) // 2)
        slowest.measure()
        seconds = min(seconds, LONGEST_BREAK)
        return [(delivery, random.uniform(seconds / 4, seconds / 2)) for delivery in released]

    def everything(self) -> list[Delivery]:
        """Take all that waits."""
        return [delivery for receiver in list(self._listed) for delivery in self.empty(receiver)]

    def _release(self, receiver: Receiver, count: int) -> list[Delivery]:
        released = [receiver.waiting.pop() for _ in range(count)]
        for delivery in released:
            self.held.pop(delivery.id, None)
        return released
