"""The last minutes, from the totals that were noted."""

from __future__ import annotations

import pytest

from denzel.metrics.layout import DURATION, REQUESTS, SECONDS
from denzel.metrics.recent import NOTED, intervals, quantile


def note(at: float, success: int = 0, failure: int = 0, quick: int = 0) -> list[float]:
    """The totals at a time; so many requests took 0.5 to 1 ms."""
    numbers = dict.fromkeys(NOTED, 0.0) | {"requests:success": success, "requests:failure": failure}
    numbers["duration:0.001"] = quick
    return [at, *numbers.values()]


def test_intervals_tell_what_was_new() -> None:
    first, second = intervals([note(100), note(105, success=50, failure=2, quick=40), note(110, 50, 2, 40)])
    assert (first.end, first.seconds, first.requests, first.failures) == (105, 5, 52, 2)
    assert first.p50 == pytest.approx(0.00075)
    assert first.p95 == pytest.approx(0.000975)
    assert (second.requests, second.failures, second.p50, second.p95) == (0, 0, None, None)


def test_notes_in_any_order_and_totals_that_begin_anew() -> None:
    found = intervals([note(110, 3), note(100, 100), note(105, 104), note(115, 5)])
    assert [(each.end, each.requests) for each in found] == [(105, 4), (115, 2)]


def test_no_notes_no_intervals() -> None:
    assert intervals([]) == []
    assert intervals([note(1)]) == []
    assert intervals([[1.0, 2.0], [2.0, 3.0]]) == []


def test_a_quantile_beyond_the_last_bound_is_that_bound() -> None:
    buckets = [0.0] * (len(DURATION.bounds) + 1)
    buckets[-1] = 1
    assert quantile(DURATION.bounds, buckets, 0.5) == SECONDS[-1]
    assert len(NOTED) == len(REQUESTS) + len(buckets)
