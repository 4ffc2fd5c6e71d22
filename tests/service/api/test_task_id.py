"""Task ids tell when and where they were made."""

from __future__ import annotations

import time
import uuid

import pytest

from denzel.api.task_id import TaskIds

IDS = TaskIds("a secret")


def test_an_id_is_a_uuid_of_version_8() -> None:
    parsed = uuid.UUID(IDS.new())
    assert (parsed.version, parsed.variant) == (8, uuid.RFC_4122)


def test_an_id_tells_its_age(monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = IDS.new()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 100)
    assert IDS.age(task_id) == pytest.approx(100, abs=5)


def test_ids_are_all_different() -> None:
    assert len({IDS.new() for _ in range(10_000)}) == 10_000


def test_ids_made_elsewhere_have_no_age() -> None:
    assert TaskIds("another secret").age(IDS.new()) is None
    assert IDS.age(str(uuid.uuid4())) is None
    assert IDS.age("no uuid") is None


def test_an_altered_id_has_no_age() -> None:
    task_id = IDS.new()
    for position, character in enumerate(task_id):
        if character != "-":
            altered = "0" if character != "0" else "1"
            assert IDS.age(task_id[:position] + altered + task_id[position + 1 :]) is None, position
