"""The fixtures on every tier that has them: one suite, unchanged."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from tests.plugin.conftest import SUITES, Project

NOT_INLINE = 8


def test_inline(project: Project, sessions: Callable[[], list[Path]]) -> None:
    shutil.copy(SUITES / "everything.py", project.root / "tests/test_it.py")
    result = project.run("tests", "--durations=10")
    outcomes = result.parseoutcomes()
    assert outcomes.get("failed", 0) + outcomes.get("errors", 0) == 0
    result.stdout.fnmatch_lines(
        [
            "SKIPPED * The tier inline has no worker: run with --denzel-tier=local or --denzel-tier=docker.",
            "SKIPPED * The tier inline has no Redis: run with --denzel-tier=local or --denzel-tier=docker.",
            "SKIPPED * This test is for the tier local or docker; this run is on inline.",
        ]
    )
    assert sessions() == []


def test_local(project: Project, sessions: Callable[[], list[Path]]) -> None:
    shutil.copy(SUITES / "everything.py", project.root / "tests/test_it.py")
    result = project.run("tests", "--denzel-tier=local", "--durations=10")
    outcomes = result.parseoutcomes()
    assert set(outcomes) == {"passed"}
    assert sessions() == []
    assert not list((project.root / "logs").glob("worker.log*"))


def test_docker(project: Project, sessions: Callable[[], list[Path]]) -> None:
    shutil.copy(SUITES / "everything.py", project.root / "tests/test_it.py")
    result = project.run("tests", "--denzel-tier=docker", "--durations=10")
    outcomes = result.parseoutcomes()
    assert set(outcomes) == {"passed"}
    assert sessions() == []
    assert not list((project.root / "logs").glob("worker.log*"))
