"""Clients whose requests fail: what they send forges no line, and drives nothing else out of the log."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable

import pytest

from tests.support.services import Service
from tests.support.waiting import eventually

FORGED = "2026-01-01 00:00:00,000 ERROR denzel.api: all is lost"
# A line of its own, an escape code, text the other way round, half of a character.
NASTY = f"chr(10) + {FORGED!r} + chr(27) + '[2J' + chr(0x202E) + chr(0x2066) + chr(0x85) + chr(0xD800)"


@pytest.fixture(scope="module")
def small(new_service: Callable[..., Service]) -> Service:
    """A service with little room for its log."""
    service = new_service(LOG_MAX_BYTES=200_000, LOG_BACKUPS=1)
    service.start("redis", "api", "denzel")
    service.wait_ready()
    return service


def kept(service: Service) -> str:
    """What the worker's log files hold."""
    paths = sorted((service.project / "logs").glob("worker.log*"))
    return "".join(path.read_text(encoding="utf-8") for path in paths)


@pytest.mark.parametrize(
    "raised", [f"throw(ValueError({NASTY}))", f"print({NASTY}.encode('utf-8', 'replace').decode()[1:])"]
)
def test_no_line_is_forged_and_no_terminal_obeys(small: Service, raised: str) -> None:
    task_id = small.submit({"predict": raised})
    small.wait(task_id)
    text = eventually(lambda: f"task {task_id}]" in (log := small.log("denzel")) and log, "it is logged")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    if "throw" in raised:
        assert not [line for line in text.splitlines() if line.startswith("2026-01-01")]


def test_a_thousand_failures_leave_the_others_in_the_log(small: Service) -> None:
    first = small.submit({"predict": "{}['rare']"})
    small.wait(first)
    ids = [small.submit({"predict": f"throw(ValueError('{number} ' + 'x' * 3000))"}) for number in range(1000)]
    small.wait(ids[-1], timeout=60)
    last = small.submit({"predict": "1 / 0"})
    small.wait(last)
    eventually(lambda: f"Task {last} failed: ZeroDivisionError" in kept(small), "the last one is logged")
    text = kept(small)
    assert f"Task {first} failed: KeyError" in text
    assert 1 <= len(re.findall("failed: ValueError", text)) <= 21


def test_one_long_message_does_not_either(small: Service) -> None:
    task_id = small.submit({"predict": "throw(RuntimeError('y' * 5_000_000))"})
    small.wait(task_id)
    eventually(lambda: f"Task {task_id} failed: RuntimeError" in kept(small), "it is logged")
    assert len(max(kept(small).splitlines(), key=len)) < 25_000
    assert "more characters)" in kept(small)


def test_others_of_the_machine_cannot_read_it(small: Service) -> None:
    paths = sorted((small.project / "logs").glob("worker.log*"))
    assert paths
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o640}
