"""The plan of retries: how long until the next attempt, and when it is given up."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from denzel.callbacks.delivery import HISTORY, advance, postpone
from denzel.callbacks.sender import Attempt

DAY = 86_400.0


def test_retries_spread_over_the_span_and_end_with_it() -> None:
    state, now, delays = {}, 1_000_000.0, []
    while True:
        state, delay = advance(state, Attempt(500, "HTTP 500", seconds=1), now, DAY)
        if delay is None:
            break
        assert state["state"] == "pending"
        assert state["next_attempt"] == pytest.approx(now + delay, abs=0.01)
        delays.append(delay)
        now += delay
    assert 4 <= delays[0] <= 6
    for earlier, later in pairwise(delays[:9]):
        assert earlier < later
    assert max(delays) <= 3600 * 1.2
    assert sum(delays) == pytest.approx(DAY, abs=1)
    assert 25 <= len(delays) <= 45
    assert state["state"] == "failed"
    assert state["attempts"] == len(delays) + 1
    assert state["next_attempt"] is None
    assert len(state["history"]) == HISTORY
    assert len(json.dumps(state)) < 2000


def test_delays_differ_so_that_retries_do_not_come_all_at_once() -> None:
    delays = {advance({}, Attempt(500, "HTTP 500"), 0, DAY)[1] for _ in range(100)}
    assert len(delays) == 100


def test_a_span_of_zero_means_one_attempt() -> None:
    state, delay = advance({}, Attempt(None, "no answer"), 0, 0)
    assert (state["state"], delay) == ("failed", None)


@pytest.mark.parametrize(("wish", "delay"), [(0.0, 5), (300.0, 300), (7200.0, 7200), (1e9, DAY)])
def test_wishes_are_honoured_within_the_span(wish: float, delay: float) -> None:
    _, found = advance({}, Attempt(429, "HTTP 429", retry_after=wish), 0, DAY)
    assert found == pytest.approx(delay, rel=0.21)


def test_postponed_attempts_grow_their_delay_and_end_with_the_span() -> None:
    state, now, count = {}, 0.0, 0
    while True:
        state, delay = postpone(state, "not tried", now, DAY)
        count += 1
        if delay is None:
            break
        now += delay
    assert state["state"] == "failed"
    assert state["attempts"] == 0
    assert state["postponed"] == count
    assert count < 50
