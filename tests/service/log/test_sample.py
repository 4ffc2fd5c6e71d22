"""Lines that come by the thousand."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from denzel.log.sample import Sample


def test_so_many_a_second_are_written_and_the_others_counted(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("tested.sample")
    log.setLevel(logging.INFO)
    sample = Sample(log, 100, "answers")
    assert sum(sample.admits(5.0 + number / 10_000) for number in range(10_000)) == 100
    assert caplog.messages == []
    assert sample.admits(6.1), "the next second"
    assert caplog.messages == ["9900 answers were not logged (LOG_SAMPLE)"]


def test_the_last_ones_are_told_when_no_other_comes(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("tested.sample")
    log.setLevel(logging.INFO)
    sample = Sample(log, 1, "answers")
    assert [sample.admits(5.0), sample.admits(5.1), sample.admits(5.2)] == [True, False, False]
    sample.tell(5.9)
    assert caplog.messages == [], "its second is not over"
    sample.tell(6.0)
    sample.tell(7.0)
    assert caplog.messages == ["2 answers were not logged (LOG_SAMPLE)"]


def test_an_event_loop_tells_by_itself_and_no_thread_is_needed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    log = logging.getLogger("tested.sample")
    log.setLevel(logging.INFO)

    async def run() -> None:
        sample = Sample(log, 1, "answers")
        assert [sample.admits(5.0), sample.admits(5.1)] == [True, False]
        for _ in range(500):
            if caplog.messages:
                return
            await asyncio.sleep(0.01)

    asyncio.run(run())
    assert caplog.messages == ["1 answers were not logged (LOG_SAMPLE)"]


def test_none_is_written_where_none_are_wanted() -> None:
    log = logging.getLogger("tested.sample")
    log.setLevel(logging.INFO)
    assert not Sample(log, 0, "answers").admits(1.0)
    log.setLevel(logging.WARNING)
    assert not Sample(log, 100, "answers").admits(1.0)
