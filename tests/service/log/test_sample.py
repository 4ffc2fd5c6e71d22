"""Lines that come by the thousand."""

from __future__ import annotations

import logging

import pytest

from denzel.log.sample import Sample
from tests.support.waiting import eventually


def test_so_many_a_second_are_written_and_the_others_counted(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("tested.sample")
    log.setLevel(logging.INFO)
    sample = Sample(log, 100, "answers")
    assert sum(sample.admits(5.0 + number / 10_000) for number in range(10_000)) == 100
    assert sample.admits(6.1)
    eventually(lambda: caplog.messages, "it is told", 5)
    assert caplog.messages == ["9900 answers were not logged (LOG_SAMPLE)"]


def test_none_is_written_where_none_are_wanted() -> None:
    log = logging.getLogger("tested.sample")
    log.setLevel(logging.INFO)
    assert not Sample(log, 0, "answers").admits(1.0)
    log.setLevel(logging.WARNING)
    assert not Sample(log, 100, "answers").admits(1.0)
