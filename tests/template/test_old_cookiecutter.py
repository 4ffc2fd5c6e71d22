"""A Cookiecutter that is too old says which one is needed, and nothing else that would mislead."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.bakery import REPOSITORY
from tests.template import hooks

NEEDED = "denzel-template needs Cookiecutter 2.7 or newer; this is {}: pip install -U cookiecutter"


@pytest.mark.parametrize("version", ["1.7.3", "2.0.0.dev0", "2.1.1", "2.6.0"])
def test_an_old_one_is_told(version: str) -> None:
    assert hooks.load("pre_gen_project").version_problem(version) == NEEDED.format(version)


@pytest.mark.parametrize("version", ["2.7", "2.7.1", "2.10.0", "3.0.0", "unknown"])
def test_a_good_one_or_an_unknown_one_is_no_problem(version: str) -> None:
    assert hooks.load("pre_gen_project").version_problem(version) is None


def test_it_is_said_before_anything_else(tmp_path: Path) -> None:
    """Version 1.7.3 renders no booleans, so that the answers are wrong, too."""
    (tmp_path / "old/cookiecutter").mkdir(parents=True)
    (tmp_path / "old/cookiecutter/__init__.py").write_text("__version__ = '1.7.3'\n")
    answers = {"gpu": "False", "project_slug": "x"}
    text = (REPOSITORY / "hooks/pre_gen_project.py").read_text()
    hook = tmp_path / "hook.py"
    hook.write_text(text.replace("{{ cookiecutter | tojson }}", json.dumps(answers)))
    project = tmp_path / "project"
    project.mkdir()
    done = subprocess.run(
        [sys.executable, hook], cwd=project, env={**os.environ, "PYTHONPATH": str(tmp_path / "old")},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.strip() == NEEDED.format("1.7.3")
