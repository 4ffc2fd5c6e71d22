"""The documentation: its examples run, and it leaves nothing out."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

import pytest_denzel
from pytest_denzel import fixtures, settings
from tests.plugin.conftest import Project
from tests.support.bakery import REPOSITORY

TEXT = (REPOSITORY / "docs/pytest_denzel.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("tier", ["inline", "local"])
def test_its_examples_run(
    iris: Path, pytester: pytest.Pytester, clean_environment: Path, monkeypatch: pytest.MonkeyPatch, tier: str
) -> None:
    project = Project(pytester, pytester.path / "iris")
    shutil.copytree(iris, project.root)
    monkeypatch.chdir(project.root)
    for name in ("test_pipeline", "test_service"):
        (project.root / f"tests/{name}.py").unlink()
    for number, source in enumerate(blocks("python")):
        project.test(source, f"test_{number}")
    for number, source in enumerate(blocks("json")):
        project.example(f"of_the_docs_{number}", **json.loads(source))
    (ini,) = blocks("ini")
    project.write("pytest.ini", ini)
    result = project.run(f"--denzel-tier={tier}")
    outcomes = result.parseoutcomes()
    assert outcomes.pop("passed") > 20
    assert set(outcomes) <= ({"skipped"} if tier == "inline" else set())


def test_its_commands_are_understood(project: Project) -> None:
    commands = [line.removeprefix("$ ").split("#")[0] for block in blocks("console") for line in block.splitlines()]
    makefile = (project.root / "Makefile").read_text()
    for program, *words in map(shlex.split, commands):
        if program == "make":
            assert f"\n{words[0]}: " in makefile
        else:
            assert program == "pytest"
            assert project.run("--collect-only", *words).ret == 0


def test_every_fixture_is_in_it() -> None:
    names = [name for name, value in vars(fixtures).items() if type(value).__name__ == "FixtureFunctionDefinition"]
    assert "denzel_service" in names
    missing = [name for name in names if not name.startswith("_") and f"`{name}" not in TEXT]
    assert missing == ["denzel_answer"]  # an inner one: how the examples are asked


def test_every_option_and_marker_is_in_it(pytester: pytest.Pytester) -> None:
    source = inspect.getsource(settings)
    options = set(re.findall(r'"(--denzel-\w+)"', source)) | set(re.findall(r'addini\(\s*"(denzel_\w+)"', source))
    assert len(options) == 13
    assert {name for name in options if f"`{name}`" not in TEXT} == set()
    assert "@pytest.mark.denzel_tier(" in TEXT


def test_every_public_attribute_is_in_it() -> None:
    missing = {}
    for name in ("ApiClient", "CallbackReceiver", "Chaos", "Delivery", "OutsideWorld", "Pipeline", "Redis", "Service"):
        public = [attribute for attribute in vars(getattr(pytest_denzel, name)) if not attribute.startswith("_")]
        if left_out := [attribute for attribute in public if not re.search(rf"`[^`]*\b{attribute}\b[^`]*`", TEXT)]:
            missing[name] = left_out
    assert missing == {
        "ApiClient": ["simulate_request", "simulate_post", "simulate_delete", "close"],
        "CallbackReceiver": ["close"],
        "Service": ["restore_response"],
    }


def test_what_it_imports_is_public() -> None:
    imported = set(re.findall(r"from pytest_denzel import (.*)", TEXT))
    names = {name.strip() for line in imported for name in line.split(",")}
    assert names
    assert names <= set(pytest_denzel.__all__)
    assert all(getattr(pytest_denzel, name) for name in pytest_denzel.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        pytest_denzel.Nothing  # noqa: B018
    assert "pytest_denzel" in sys.modules
