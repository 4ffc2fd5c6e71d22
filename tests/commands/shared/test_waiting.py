"""The loop in which commands wait, and what they say meanwhile."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from commands.shared import waiting
from commands.shared.project import CommandError
from commands.shared.waiting import growing, wait_for


class Clock:
    """Time that goes on by what is slept alone."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(waiting, "time", clock)
    return clock


def looks(*texts: str | None) -> Iterator[str | None]:
    """These in turn, the last one for ever."""
    return itertools.chain(texts, itertools.repeat(texts[-1]))


def test_what_is_waited_for_is_said_when_it_changes_and_again_every_10_seconds(clock: Clock) -> None:
    said: list[str] = []
    found = iter(["", "redis", "redis", "the model", *["the model"] * 12, "", "the model", None])
    assert wait_for(lambda: next(found), pauses=itertools.repeat(1.0), tell=said.append)
    assert said == ["Waiting: redis (1 s)", "Waiting: the model (3 s)", "Waiting: the model (13 s)"]


def test_in_the_first_second_no_seconds_are_said(clock: Clock) -> None:
    said: list[str] = []
    found = iter(["redis", None])
    assert wait_for(lambda: next(found), tell=said.append)
    assert said == ["Waiting: redis"]


def test_the_refusal_at_the_limit_says_what_was_waited_for(clock: Clock) -> None:
    found = looks("redis", "the model")
    with pytest.raises(CommandError, match=r"^no sign of the model$"):
        wait_for(lambda: next(found), 5, "no sign of {}".format, tell=lambda line: None)
    assert clock.now == pytest.approx(5, abs=2 * waiting.PAUSE)


def test_without_a_refusal_the_limit_ends_the_wait(clock: Clock) -> None:
    assert not wait_for(lambda: "", 5)
    assert clock.now == pytest.approx(5, abs=2 * waiting.PAUSE)


def test_the_limit_can_be_that_of_each_thing(clock: Clock) -> None:
    found = iter(["first"] * 4 + ["second"] * 4 + ["third"] * 4 + [None])
    assert wait_for(lambda: next(found), 4, limit_of_each=True, pauses=itertools.repeat(1.0), tell=lambda line: None)
    same = looks("first")
    assert not wait_for(lambda: next(same), 4, limit_of_each=True, pauses=itertools.repeat(1.0), tell=lambda line: None)


def test_an_error_of_a_look_ends_the_wait(clock: Clock) -> None:
    def look() -> str:
        raise CommandError("load_model raised")

    with pytest.raises(CommandError, match="load_model raised"):
        wait_for(look)


def test_pauses_grow_up_to_the_longest() -> None:
    assert list(itertools.islice(growing(1, 30), 7)) == [1, 2, 4, 8, 16, 30, 30]
    assert list(itertools.islice(growing(0.05, 1, 1.5), 3)) == pytest.approx([0.05, 0.075, 0.1125])
