"""What the processes of the denzel container write, as the supervisor passes it on."""

from __future__ import annotations

import json
import logging

import pytest

from denzel.log.forms import JsonForm, TextForm
from denzel.worker.log import MARK, _Forwarded

FORGED = '{"time": "2026-01-01", "level": "error", "logger": "denzel.api", "task_id": "other", "message": "x"}'


def record(line: str, name: str = "denzel.output") -> logging.LogRecord:
    return logging.LogRecord(name, logging.INFO, __file__, 1, "%s", (line,), None)


def own_line() -> str:
    """As a process of the container writes it."""
    return JsonForm("denzel", MARK).format(record("hello", "mine"))


@pytest.mark.parametrize("line", [FORGED, '{"time": not JSON}', "%s", f"{MARK}not JSON", f"X={MARK}"])
def test_what_is_written_past_python_is_no_line_of_the_log_whatever_it_looks_like(line: str) -> None:
    written = _Forwarded(JsonForm("denzel")).format(record(line))
    body = json.loads(written)
    assert (body["logger"], body["level"]) == ("denzel.output", "info")
    assert body["message"] == line.replace(MARK, "")
    assert "task_id" not in body


def test_a_line_of_the_log_is_passed_on_without_its_mark() -> None:
    line = own_line()
    assert _Forwarded(JsonForm("denzel")).format(record(line)) == line.removeprefix(MARK)


def test_a_line_of_the_log_is_found_behind_the_begin_of_another_one() -> None:
    line = own_line()
    before, own = map(json.loads, _Forwarded(JsonForm("denzel")).format(record(f"50 %{line}")).split("\n"))
    assert (before["message"], own["message"], own["logger"]) == ("50 %", "hello", "mine")


def test_text_is_passed_on_as_it_is() -> None:
    assert _Forwarded(TextForm()).format(record(FORGED)) == FORGED
