"""What is repeated is counted."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from denzel.log.repeats import _MOST_KINDS, Repeats
from tests.support.waiting import eventually

MINUTE = 0.3


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    """A logger with two handlers, that tells three lines of a kind."""
    made = logging.getLogger("denzel.repeated")
    made.propagate = False
    repeats = Repeats(3, MINUTE)
    for handler in (Kept(), Kept()):
        handler.addFilter(repeats)
        made.addHandler(handler)
    yield made
    eventually(lambda: not any(kind.left_out for kind in repeats._kinds.values()), "all are told")
    for handler in kept_by(made):
        made.removeHandler(handler)
    made.propagate = True


def kept_by(log: logging.Logger) -> list[Kept]:
    return [handler for handler in log.handlers if isinstance(handler, Kept)]


def lines(log: logging.Logger) -> list[str]:
    first, second = kept_by(log)
    assert first.lines == second.lines
    return first.lines


def test_of_many_the_first_are_written_and_the_others_counted(log: logging.Logger) -> None:
    for number in range(10):
        log.warning("Task %d failed\n%s", number, "trace")
    assert lines(log) == [f"Task {number} failed\ntrace" for number in range(3)]
    eventually(lambda: len(lines(log)) > 3, "they are counted")
    assert lines(log)[3:] == [f"7 more within {MINUTE:g} s like: Task %d failed"]


def test_other_kinds_have_lines_of_their_own(log: logging.Logger) -> None:
    for number in range(10):
        log.warning("%s", number, extra={"kind": "a"})
    log.warning("another", extra={"kind": "b"})
    log.error("%s", "another level", extra={"kind": "a"})
    assert lines(log) == ["0", "1", "2", "another", "another level"]


def test_another_type_of_error_is_news(log: logging.Logger) -> None:
    for error in (*[OSError(number) for number in range(10)], ConnectionError("gone")):
        log.warning("Redis does not serve: %s", error)
    assert lines(log) == [*(f"Redis does not serve: {number}" for number in range(3)), "Redis does not serve: gone"]


def test_what_is_no_warning_is_written_unless_it_brings_a_kind(log: logging.Logger) -> None:
    log.setLevel(logging.INFO)
    for _ in range(5):
        log.info("plain")
        log.info("of a kind", extra={"kind": "x"})
    assert (lines(log).count("plain"), lines(log).count("of a kind")) == (5, 3)


def test_kinds_without_number_count_as_one(log: logging.Logger) -> None:
    for number in range(_MOST_KINDS + 100):
        log.warning(f"template {number}")
    assert len(lines(log)) == _MOST_KINDS + 3


def test_what_the_users_code_logs_is_its_own_affair() -> None:
    repeats = Repeats(1)
    records = [logging.LogRecord("mine", logging.ERROR, "", 1, "x", (), None) for _ in range(5)]
    assert all(map(repeats.filter, records))
