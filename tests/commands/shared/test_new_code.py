"""Whether new code has been taken up."""

from __future__ import annotations

import pytest

from commands.shared import new_code


@pytest.mark.parametrize(
    ("now", "is_loading"),
    [
        ({}, True),  # it has not heard of it yet
        ({"reloads": 4, "reloading": True}, True),
        ({"reloads": 4}, False),
        ({"started": 2.0, "reloads": 0}, False),  # the container was started anew meanwhile
        (None, False),  # the container was removed meanwhile
    ],
)
def test_what_a_worker_told_before_is_not_taken_for_its_answer(now: dict | None, is_loading: bool) -> None:
    before = {"started": 1.0, "reloads": 3, "reloading": False, "reload_error": "of the last time"}
    assert new_code._is_loading(before, now if now is None else {**before, **now}) == is_loading
