"""The last ten minutes, as the totals that were noted every five seconds tell them: what the front page shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from denzel.metrics.layout import DURATION, REQUESTS

# Seconds between two notes, and how many are kept.
EVERY, KEPT = 5, 121
# What a note holds, in this order, behind its time: unix seconds.
NOTED = [*(f"requests:{outcome}" for outcome in REQUESTS), *DURATION.names[:-1]]


@dataclass(frozen=True)
class Interval:
    """The requests to /predict of some seconds.

    Attributes:
        end: unix seconds.
        seconds: how long it was, about five.
        requests: all that were answered.
        failures: those of them that failed on our side: outcomes failure and unavailable.
        p50, p95: seconds that half of those that waited for predictions took at the most, and 95 % of them: estimates,
            from the buckets of the histogram; None where nobody waited.
    """

    end: float
    seconds: float
    requests: int
    failures: int
    p50: float | None
    p95: float | None


def intervals(notes: Iterable[list[float]]) -> list[Interval]:
    """What lies between notes, each a time and the numbers of `NOTED`, the oldest first.

    Where the totals have begun anew, no interval is told.
    """
    found = []
    for before, after in pairwise(sorted(notes)):
        new = [now - then for then, now in zip(before[1:], after[1:], strict=False)]
        if len(new) < len(NOTED) or min(new) < 0 or after[0] <= before[0]:
            continue
        counts = dict(zip(REQUESTS, new, strict=False))
        buckets = new[len(REQUESTS) : len(NOTED)]
        found.append(
            Interval(
                after[0],
                after[0] - before[0],
                round(sum(counts.values())),
                round(counts["failure"] + counts["unavailable"]),
                quantile(DURATION.bounds, buckets, 0.5),
                quantile(DURATION.bounds, buckets, 0.95),
            )
        )
    return found


def quantile(bounds: Sequence[float], buckets: Sequence[float], part: float) -> float | None:
    """The value that this part of all is at the most, by even distribution within a bucket; None of none."""
    wanted = part * sum(buckets)
    if not wanted:
        return None
    lower = 0.0
    for upper, count in zip(bounds, buckets, strict=False):
        if wanted <= count:
            return lower + (upper - lower) * wanted / count
        wanted -= count
        lower = upper
    return lower
