"""The fixtures on every tier that has them: one suite, unchanged."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from tests.plugin.conftest import SUITES, Project


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


def test_docker(project: Project, sessions: Callable[[], list[Path]], docker_image: str) -> None:
    shutil.copy(SUITES / "everything.py", project.root / "tests/test_it.py")
    result = project.run("tests", "--denzel-tier=docker", "--durations=10")
    outcomes = result.parseoutcomes()
    assert set(outcomes) == {"passed"}
    assert sessions() == []
    assert not list((project.root / "logs").glob("worker.log*"))


def test_what_the_services_print_is_attached_to_a_failure(project: Project) -> None:
    project.test(
        """
        def test_fails(denzel_service):
            denzel_service.predict({"data": {"a": -1}})

        def test_fails_too(denzel_service):
            assert denzel_service.predict({"data": {"a": 1}}) == "another answer"
        """
    )
    result = project.run("tests")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "E *ServiceError: 500 Error invoking predict: process does not like -1",
            "*- log of api (inline) -*",
            "  RuntimeError: process does not like -1",
            "*_ test_fails_too _*",
        ]
    )
    shown = result.stdout.str()
    assert "pytest_denzel/" not in shown
    assert "process does not like" not in shown.split("_ test_fails_too _")[1].split("short test summary")[0]
