"""A simulated queue, on a clock of its own: tasks, processes that claim them in batches, calls with a given cost."""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from denzel.pipeline.batch_size import BatchSize

# Seconds: a call's round trip to the queue; from an answer to the client's next request; the API's gathering.
ROUND_TRIP = 0.0002
TURNAROUND = 0.0003
TOGETHER = 0.0003

# How long a call of a number of tasks takes (seconds), begun at a time.
Cost = Callable[[int, float], float]


class Policy(Protocol):
    """Says how many to claim, and learns what it took."""

    def portion(self, waiting: int, processes: int) -> int: ...

    def record(self, tasks: int, seconds: float) -> None: ...


class Learning:
    """What is tested."""

    def __init__(self, most: int = 128) -> None:
        self.size = BatchSize(most)

    def portion(self, waiting: int, processes: int) -> int:
        return self.size.plan.portion(waiting, processes)

    def record(self, tasks: int, seconds: float) -> None:
        self.size.record(tasks, seconds)


@dataclass
class Fixed:
    """What it is measured by: always the same number, or the process's share of what waits if that is less."""

    most: int
    share: bool = False

    def portion(self, waiting: int, processes: int) -> int:
        return min(self.most, math.ceil(waiting / processes)) if self.share else self.most

    def record(self, tasks: int, seconds: float) -> None:
        pass


@dataclass
class Run:
    """What came of it: of each task the time it came and the time it was done, of each call its beginning and size."""

    tasks: list[tuple[float, float]] = field(default_factory=list)
    calls: list[tuple[float, int]] = field(default_factory=list)

    def latency(self, after: float = 0.0) -> float:
        """The mean, in seconds, of the tasks that came after a time."""
        times = [done - came for came, done in self.tasks if came >= after]
        return sum(times) / len(times)

    def rate(self, after: float, until: float) -> float:
        """Tasks done a second in this span."""
        return sum(after <= done < until for _, done in self.tasks) / (until - after)

    def sizes(self, after: float = 0.0) -> list[int]:
        return [tasks for began, tasks in self.calls if began >= after]


class Simulation:
    """Processes that share a queue; each has a policy of its own.

    Args:
        arrivals: times at which tasks come; those of the same moment come together.
        clients: so many send the next request once the last is answered.
    """

    def __init__(
        self,
        policies: list[Policy],
        cost: Cost,
        *,
        arrivals: Iterable[float] = (),
        clients: int = 0,
        until: float = math.inf,
        seed: int = 1,
    ) -> None:
        self._policies, self._cost, self._until = policies, cost, until
        self._random = random.Random(seed)
        self._closed = clients > 0
        self._waiting: deque[float] = deque()
        self._idle = list(range(len(policies)))
        self._events: list[tuple[float, int, list[float] | None]] = []  # time, process (-1: tasks come), what ended
        self._coming: dict[float, int] = {}
        self.run = Run()
        for moment in arrivals:
            self._come(moment)
        for _ in range(clients):
            self._come(self._random.random() * TURNAROUND)

    def go(self) -> Run:
        while self._events and self._events[0][0] < self._until:
            now, process, came = heapq.heappop(self._events)
            if process < 0:
                self._waiting.extend([now] * self._coming.pop(now))
            else:
                for moment in came or ():
                    self.run.tasks.append((moment, now))
                    if self._closed:
                        self._come(now + TURNAROUND * (0.5 + self._random.random()))
                self._idle.append(process)
            while self._waiting and self._idle:
                self._call(self._idle.pop(), now)
        return self.run

    def _come(self, moment: float) -> None:
        moment = math.ceil(moment / TOGETHER) * TOGETHER
        if moment not in self._coming:
            self._coming[moment] = 0
            heapq.heappush(self._events, (moment, -1, None))
        self._coming[moment] += 1

    def _call(self, process: int, now: float) -> None:
        policy = self._policies[process]
        count = min(len(self._waiting), policy.portion(len(self._waiting), len(self._policies)))
        tasks = [self._waiting.popleft() for _ in range(count)]
        seconds = self._cost(count, now)
        policy.record(count, seconds)  # a little early, but nobody asks before the call has ended
        self.run.calls.append((now, count))
        heapq.heappush(self._events, (now + ROUND_TRIP + seconds, process, tasks))
