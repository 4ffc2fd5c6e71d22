"""Idempotency keys of the inline executor: they go with a refused task, and are bounded in number and in time."""

from __future__ import annotations

import asyncio
import time

import pytest

from denzel.executor import IDEMPOTENCY_EXPIRES, Task
from denzel.inline import records
from denzel.inline.records import Records
from denzel.memory import MEMORY, NoRoom


def test_the_key_of_a_refused_task_is_free_again() -> None:
    kept = Records(60, 60)
    assert kept.reserve("mark", "digest", "first") == ("first", "digest")
    assert kept.reserve("mark", "digest", "second") == ("first", "digest")
    kept.release("mark", "second")
    assert kept.reserve("mark", "digest", "second") == ("first", "digest")
    kept.release("mark", "first")
    assert kept.reserve("mark", "other", "second") == ("second", "other")


def test_the_key_of_a_task_that_is_there_stays() -> None:
    async def scenario() -> None:
        kept = Records(60, 60)
        kept.reserve("mark", "digest", "first")
        kept.add(Task("first", b"{}", "async", None), "async")
        kept.release("mark", "first")
        assert kept.reserve("mark", "digest", "second") == ("first", "digest")

    asyncio.run(scenario())


def test_keys_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MOST_KEYS", 10)
    kept = Records(60, 60)
    for number in range(100):
        kept.reserve(f"mark {number}", "digest", f"{number}")
    assert len(kept._keys) <= 11
    assert kept.reserve("mark 99", "digest", "other")[0] == "99"


def test_keys_are_let_go_after_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Records(60, 60)
    kept.reserve("old", "digest", "first")
    moment = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: moment + IDEMPOTENCY_EXPIRES - 10)
    kept.forget_expired()
    assert kept.reserve("old", "digest", "second")[0] == "first"
    kept.reserve("new", "digest", "third")
    monkeypatch.setattr(time, "monotonic", lambda: moment + IDEMPOTENCY_EXPIRES + 10)
    kept.forget_expired()  # as each request does, also one without a key
    assert set(kept._keys) == {"new"}


def test_what_waits_takes_memory_until_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        kept = Records(60, 60)
        monkeypatch.setattr(MEMORY, "limit", MEMORY.used + 3_000_000)
        first = kept.add(Task("first", b"x" * 2_000_000, "async", None), "async")
        with pytest.raises(NoRoom):
            kept.add(Task("second", b"x" * 2_000_000, "async", None), "async")
        kept.add(Task("small", b"x" * 1000, "async", None), "async")
        kept.end(first, "SUCCESS", b"{}", b"")
        kept.add(Task("third", b"x" * 2_000_000, "async", None), "async")

    asyncio.run(scenario())
