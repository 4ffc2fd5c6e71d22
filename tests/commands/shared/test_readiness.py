"""What the service says about itself."""

from __future__ import annotations

import pytest

from commands.shared.readiness import memory_note, worker_states


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


@pytest.mark.parametrize(
    ("processes", "each", "free", "note"),
    [
        (8, 3_200_000_000, 400_000_000, "set WORKER_CONCURRENCY=7 in .env"),
        (8, 3_200_000_000, 24_000_000_000, ""),
        (1, 3_200_000_000, 100_000_000, ""),
        (2, 0, 100_000_000, ""),
        (2, 5_000_000_000, 1, "set WORKER_CONCURRENCY=1 in .env"),
    ],
)
def test_models_that_hardly_fit_into_the_memory(processes: int, each: int, free: int, note: str) -> None:
    worker = {"processes": processes, "memory": each, "memory_free": free}
    found = memory_note({"workers": [worker]})
    assert found.endswith(note)
    assert bool(found) == bool(note)
    assert memory_note(None) == memory_note({"workers": [{"name": "w"}]}) == ""


def test_the_note_about_memory_names_all_figures() -> None:
    worker = {"processes": 8, "memory": 3_240_000_000, "memory_free": 400_000_000}
    assert memory_note({"workers": [worker]}).startswith(
        "8 processes hold 8 copies of the model, 3.2 GB each; 0.4 GB are free: "
    )
