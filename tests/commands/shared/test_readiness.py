"""What the service says about itself."""

from __future__ import annotations

import pytest

from commands.shared.readiness import worker_states


@pytest.mark.parametrize(
    ("document", "states"),
    [
        (None, [("all", "UNAVAILABLE", "")]),
        ({"workers": []}, [("all", "LOADING...", "")]),
        ({"workers": [{"name": "w", "state": "LOADING", "error": None}]}, [("w", "LOADING...", "")]),
        ({"workers": [{"name": "w", "state": "ERROR", "error": "no"}]}, [("w", "ERROR", "no")]),
    ],
)
def test_the_workers_are_those_that_ready_names(document: dict | None, states: list) -> None:
    assert worker_states(document) == states
