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

from denzel.callbacks.sender import Attempt

CONNECTIONS = 1000
SLOW_SHARE = 0.75  # of the connections, for receivers that have not shown to be quick
QUICK = 1.0  # seconds until an answer
LIMIT_START, LIMIT_SLOW, LIMIT_QUICK = 4, 16, 100  # connections to one receiver
BROKEN_AFTER = 4  # attempts in a row without any answer
MAX_HELD = 2000  # ids leased altogether; more than twice what slow receivers may have under way
LONG_QUEUE = 5.0  # seconds until its end is sent; when room gets scarce, queues must not be longer
SHORT_QUEUE = 16  # callbacks, which no queue is too long for
LONGEST_BREAK = 60.0  # seconds
PACE_WINDOW = 10.0  # seconds
RENEW_AFTER = 3.0  # seconds
MAX_BYTES = 64 << 20  # of the bodies being sent
MAX_RECEIVERS = 10_000  # remembered


@dataclass(slots=True)
class LeasedCallback:
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
    most: int = LIMIT_QUICK
    limit: int = LIMIT_START
    active: int = 0
    failures: int = 0
    quick: bool = False
    warned: float = 0.0
    exhausted: int = -1  # the day on which it got no more retries
    listed: bool = False  # among those that have something waiting
    waiting: deque[LeasedCallback] = field(default_factory=deque)
    # Since something began to wait:
    busy_since: float = 0.0
    ended: float = 0.0
    sent_back: int = 0

    @property
    def broken(self) -> bool:
        """It does not answer: one attempt at a time finds out when it does again."""
        return self.failures >= BROKEN_AFTER

    @property
    def room(self) -> bool:
        """True if it may get another connection as far as it is concerned."""
        return self.active < min(self.limit, self.most, LIMIT_QUICK if self.quick else LIMIT_SLOW)

    def pace(self, now: float) -> float:
        """Seconds per attempt, of late."""
        busy = now - self.busy_since
        if busy > PACE_WINDOW:  # half of what is older than the window is forgotten
            self.busy_since, self.ended = now - busy / 2, self.ended / 2
        return max(1e-6, now - self.busy_since) / (self.ended + 1)

    def learn(self, answer: Attempt) -> None:
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

    def __init__(self, connections: int = CONNECTIONS, of_one: int = LIMIT_QUICK) -> None:
        self._of_one = of_one  # connections that a receiver may have
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
            self._receivers[name] = Receiver(name, self._of_one)
        return self._receivers[name]

    def add(self, delivery: LeasedCallback) -> None:
        """Let a leased callback wait for its turn."""
        self.held[delivery.id] = delivery.leased
        delivery.receiver.waiting.append(delivery)
        self._list(delivery.receiver)

    def _list(self, receiver: Receiver) -> None:
        if not receiver.listed:
            receiver.listed = True
            receiver.busy_since, receiver.ended, receiver.sent_back = time.monotonic(), 0.0, 0
            self._listed.append(receiver)

    def start(self) -> list[LeasedCallback]:
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

    def undo(self, chosen: list[LeasedCallback]) -> None:
        """Put back what could not be started."""
        for delivery in reversed(chosen):
            self._count(delivery, -1)
            delivery.receiver.waiting.appendleft(delivery)
            self._list(delivery.receiver)

    def end(self, delivery: LeasedCallback) -> None:
        """An attempt is over; its id is not held any more."""
        self._count(delivery, -1)
        self.held.pop(delivery.id, None)
        delivery.receiver.ended += 1

    def _count(self, delivery: LeasedCallback, step: int) -> None:
        delivery.receiver.active += step
        self._active += step
        self._bytes += step * delivery.size
        if delivery.slow:
            self._slow += step

    def empty(self, receiver: Receiver) -> list[LeasedCallback]:
        """Take all that waits for a receiver."""
        return self._release(receiver, len(receiver.waiting))

    def too_long(self, receiver: Receiver, now: float) -> int:
        """How many callbacks too many wait for a receiver, while others may be waiting behind them in Redis."""
        if len(self.held) < MAX_HELD // 2:
            return 0
        fair = min(SHORT_QUEUE, MAX_HELD // (2 * len(self._listed) + 1))
        return max(0, len(receiver.waiting) - int(max(fair, LONG_QUEUE / receiver.pace(now))))

    def relieve(self, now: float) -> list[LeasedCallback]:
        """Take the newest callbacks out of queues that are too long."""
        return [
            delivery for receiver in self._listed for delivery in self._release(receiver, self.too_long(receiver, now))
        ]

    def break_for(self, receiver: Receiver, now: float) -> float:
        """Seconds after which a callback that found the queue too long should be back: in time to keep it busy."""
        receiver.sent_back += 1
        needed = (len(receiver.waiting) + receiver.sent_back) * receiver.pace(now)
        return random.uniform(LONG_QUEUE / 2, min(max(needed, LONG_QUEUE), LONGEST_BREAK))

    def everything(self) -> list[LeasedCallback]:
        """Take all that waits."""
        return [delivery for receiver in list(self._listed) for delivery in self.empty(receiver)]

    def _release(self, receiver: Receiver, count: int) -> list[LeasedCallback]:
        released = [receiver.waiting.pop() for _ in range(count)]
        for delivery in released:
            self.held.pop(delivery.id, None)
        return released
