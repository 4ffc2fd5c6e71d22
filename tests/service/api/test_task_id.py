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


def test_ids_are_made_with_the_first_secret_and_known_by_each() -> None:
    before, rotated, after = TaskIds("old"), TaskIds("new", "old"), TaskIds("new")
    made_before, made_meanwhile = before.new(), rotated.new()
    assert None not in (rotated.age(made_before), rotated.age(made_meanwhile), after.age(made_meanwhile))
    assert before.age(made_meanwhile) is None
    assert after.age(made_before) is None


@pytest.mark.parametrize("owner", ["alice", ""])
def test_with_several_secrets_an_id_is_still_its_owners_alone(owner: str) -> None:
    task_id = TaskIds("old").new(owner)
    rotated = TaskIds("new", "old")
    assert rotated.age(task_id, owner) is not None
    assert (rotated.age(task_id, "bob") is None) is bool(owner)
