"""The tests that a baked project begins with, as its users run and copy them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.plugin.conftest import Project
from tests.support.bakery import bake


@pytest.mark.parametrize(("tier", "keys"), [("inline", False), ("local", False), ("inline", True), ("local", True)])
def test_those_of_the_iris_example_pass(
    iris: Path,
    pytester: pytest.Pytester,
    clean_environment: Path,
    monkeypatch: pytest.MonkeyPatch,
    tier: str,
    keys: bool,
) -> None:
    """Where the project asks its clients for keys, too: the services of its tests are reached by them alone."""
    shutil.copytree(iris, pytester.path / "iris")
    if keys:
        (pytester.path / "iris/keys/api_keys").write_text(f"alice {'0' * 64} 2026-01-31\n")
    monkeypatch.chdir(pytester.path / "iris")
    result = Project(pytester, pytester.path / "iris").run(f"--denzel-tier={tier}")
    outcomes = result.parseoutcomes()
    assert outcomes.pop("passed") > 15
    assert outcomes == ({"skipped": 1} if tier == "inline" else {})
    result.stdout.fnmatch_lines(["app/assets/examples/two_flowers.json .*", "app/logic/pipeline.py ..*"])


def test_those_of_the_skeleton_pass_before_anything_is_filled_in(
    tmp_path: Path, pytester: pytest.Pytester, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = bake(tmp_path / "baked", project_name="Empty", example="none")
    monkeypatch.chdir(empty)
    result = Project(pytester, empty).run()
    assert set(result.parseoutcomes()) == {"passed"}
