"""The times of a request: how they are measured, travel and are told."""

from __future__ import annotations

import time

import pytest

from denzel import timings
from denzel.timings import CallTimes, Stopwatch

MEASURED = (0.0001, 0.0032, 16, 0.0034)
CALL = CallTimes(*MEASURED).text


def test_stages_are_measured_also_where_one_fails() -> None:
    watch = Stopwatch()
    watch.start()
    time.sleep(0.02)
    watch.processed()
    time.sleep(0.01)
    watch.stop()
    assert 0.02 <= watch.process < 0.2
    assert 0.01 <= watch.predict < 0.2
    watch.start()
    time.sleep(0.01)
    watch.stop()  # `process` has raised
    assert 0.01 <= watch.process < 0.2
    assert watch.predict == 0


def test_the_header_tells_what_is_known() -> None:
    whole = timings.server_timing(0.00001, 0.004, CallTimes(*MEASURED, "v1"))
    assert whole == (
        'verify;dur=0.010, queue;dur=0.600, process;dur=0.100, predict;dur=3.200, batch;desc="16", model;desc="v1"'
    )
    assert timings.server_timing(0.002, 9.0, timings.UNKNOWN) == "verify;dur=2.000"
    assert timings.server_timing(None, 9.0, CallTimes.parse("", "v1")) == 'model;desc="v1"'
    assert timings.server_timing(None, 0.0, timings.UNKNOWN) == ""


@pytest.mark.parametrize("text", ["", "1,2,3", "a,b,c,d"])
def test_what_an_older_worker_tells_or_does_not_is_no_error(text: str) -> None:
    assert CallTimes.parse(text).batch == 0
    assert CallTimes.parse(text).queue(1.0) == 0.0
    assert CallTimes.parse(text).text == ""


def test_they_travel_as_text() -> None:
    found = CallTimes.parse(CALL)
    assert (found.process, found.predict, found.batch, found.call) == MEASURED


def test_a_record_tells_the_same() -> None:
    fields = {"times": CALL.encode(), "verify": b"8", "accepted": b"1.0", "ended": b"1.004", "model": b"v1"}
    found = timings.of_record(fields)
    assert found
    body = timings.shown(found)
    assert body == {"verify": 8e-6, "queue": pytest.approx(0.0006), "process": 0.0001, "predict": 0.0032, "batch": 16}
    status = {"status": "SUCCESS", "ended": 1.004, "timings": body, "model": "v1"}
    assert timings.header_of(status) == (
        'verify;dur=0.008, queue;dur=0.600, process;dur=0.100, predict;dur=3.200, batch;desc="16", model;desc="v1"'
    )
    assert timings.header_of({**status, "ended": None}) == ""
    assert timings.of_record({"status": b"SUCCESS"}) is None
