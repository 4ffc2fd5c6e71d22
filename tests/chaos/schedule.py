"""What is done to a service, and when: drawn from a seed."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

# One thing that is done to a service; what it draws decides the details. When it returns, the service may recover, and
# it tells when (time.monotonic) the service was hit.
Disturbance = Callable[[random.Random], float]

TIMES = 2  # that each disturbance is done, at least
# Seconds between the end of one and the begin of the next, at the most: some come one upon another, after others the
# service has the time to recover.
PAUSES = (1.0, 1.0, 8.0)


@dataclass(frozen=True)
class Done:
    """A disturbance that was done, and when (time.monotonic)."""

    what: str
    hit: float

    @property
    def kills(self) -> bool:
        """Whether it may have taken a prediction process down at work."""
        return self.what in ("kill a prediction process", "kill denzel")


def disturb(disturbances: Mapping[str, Disturbance], seed: int, enough: Callable[[], bool]) -> list[Done]:
    """Do every disturbance TIMES times in random order, then any of them until there is enough; what was done when."""
    draw = random.Random(f"schedule {seed}")
    done = []
    for what in _order(draw, list(disturbances)):
        if what is None:
            if enough():
                return done
            continue
        # What one disturbance draws has no influence on the others: however many processes there are, the plan stays.
        details = random.Random(draw.random())
        done.append(Done(what, disturbances[what](details)))
        time.sleep(details.uniform(0, details.choice(PAUSES)))
    raise AssertionError("not reached")


def _order(draw: random.Random, names: list[str]) -> Iterator[str | None]:
    """The disturbances' names, None wherever it may end."""
    first = names * TIMES
    draw.shuffle(first)
    yield from first
    while True:
        yield None
        yield draw.choice(names)
