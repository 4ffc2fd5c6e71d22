"""What the plugin costs: nothing is imported before it is needed, and an empty run takes no longer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugin.conftest import Project

# Whatever takes long to import, or has no business in a run that uses none of it.
HEAVY = {"app", "denzel", "celery", "commands", "docker", "falcon", "kombu", "orjson", "redis", "requests", "responses"}
HEAVY |= {"testcontainers", "asyncio", "http.server", "urllib.request"}

SHOWS_MODULES = """
    import sys

    def test_it({fixture}):
        pass

    def test_modules():
        names = set(sys.modules)
        print("MODULES", *sorted(names & {heavy}))
        print("OURS", *sorted(name for name in names if name.startswith("pytest_denzel")))
"""


def modules(result: pytest.RunResult, kind: str) -> set[str]:
    line = next(line for line in result.outlines if line.lstrip(".").startswith(kind))
    return set(line.split()[1:])


def test_without_a_project_only_the_hooks_are_there(pytester: pytest.Pytester, clean_environment: Path) -> None:
    pytester.makepyfile(SHOWS_MODULES.format(fixture="tmp_path", heavy=HEAVY))
    result = pytester.runpytest_subprocess("-s", "-q", "-p", "no:xdist", "-p", "no:timeout")
    assert modules(result, "MODULES") == set()
    assert modules(result, "OURS") == {
        "pytest_denzel", "pytest_denzel.fixtures", "pytest_denzel.messages", "pytest_denzel.plugin",
        "pytest_denzel.project", "pytest_denzel.settings",
    }  # fmt: skip


def test_a_project_whose_pipeline_alone_is_tested_imports_nothing_of_the_services(project: Project) -> None:
    project.test(SHOWS_MODULES.format(fixture="pipeline", heavy=HEAVY))
    result = project.run("tests", "-s", "-q", "-p", "no:xdist", "-p", "no:timeout")
    assert modules(result, "MODULES") <= {"app", "commands", "denzel", "orjson"}


def cpu_seconds(*options: str) -> float:
    """The CPU time of an empty run of pytest, which does not depend on what else the machine does."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime


def test_an_empty_run_takes_no_longer(pytester: pytest.Pytester, clean_environment: Path) -> None:
    pytester.makepyfile("def test_it(): pass")
    without, with_it = [], []
    for _ in range(5):
        without.append(cpu_seconds("-p", "no:denzel"))
        with_it.append(cpu_seconds())
    ratio = min(with_it) / min(without)
    print(
        f"\nCPU of an empty run: {min(without):.3f} s without, {min(with_it):.3f} s with the plugin; ratio {ratio:.3f}"
    )
    assert ratio < 1.5  # a heavy import doubles it; less is noise
