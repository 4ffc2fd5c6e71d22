"""The plugin and the projects that it is used in: what it knows of them, and which of them it works with."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pytest_denzel
from pytest_denzel.project import NEWEST_DOOR, OLDEST_DOOR
from tests.plugin.conftest import PIPELINES, Project
from tests.support.bakery import REPOSITORY, TEMPLATE, bake, rebake
from tests.support.earlier import earlier_template

VERSION = pytest_denzel.__version__
BAKE_OVER = "bake over it with the newer one (`cookiecutter -f -s TEMPLATE` in the folder above; your own files stay)"
BEFORE_THE_DOOR = (
    f"ERROR: {{root}} was baked from a template that is older than pytest-denzel {VERSION} can work with (it has no "
    f"denzel/testing.py): {BAKE_OVER}, or install the pytest-denzel that was made with the older one."
)
OLDER = (
    f"ERROR: {{root}} was baked from a template that is older than pytest-denzel {VERSION} can work with (VERSION in "
    f"denzel/testing.py is {OLDEST_DOOR - 1}, and {OLDEST_DOOR} at least is needed): {BAKE_OVER}, or install the "
    "pytest-denzel that was made with the older one."
)
NEWER = (
    f"ERROR: {{root}} was baked from a template that is newer than pytest-denzel {VERSION} (VERSION in "
    f"denzel/testing.py is {NEWEST_DOOR + 1}, and {NEWEST_DOOR} is the newest one known): install the newer plugin, by "
    "`make install` in the project or by `pip install --upgrade 'pytest-denzel[docker]'`."
)
USES_PIPELINE = "def test_it(pipeline):\n    assert pipeline.run({'data': {'a': 1}}) == {'a': 2}\n"


def refused(result: pytest.RunResult, message: str) -> None:
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.stderr.str().strip() == message


def set_version(project: Project, version: int) -> None:
    path = project.root / "denzel/testing.py"
    source = re.sub(r"^VERSION = \d+$", f"VERSION = {version}", path.read_text(), flags=re.MULTILINE)
    assert f"\nVERSION = {version}\n" in source
    path.write_text(source)


# ---- Versions -----------------------------------------------------------------------------------------------------


def test_a_project_from_before_the_door_says_what_to_do(project: Project) -> None:
    (project.root / "denzel/testing.py").unlink()
    project.write("app/stages.py", "")
    project.test(USES_PIPELINE)
    refused(project.run(), BEFORE_THE_DOOR.format(root=project.root))
    refused(project.run("tests/test_it.py", "--denzel-project=."), BEFORE_THE_DOOR.format(root=project.root))
    assert project.run("--help").ret == 0


def test_a_project_as_it_was_baked_before_the_door_works_when_it_was_baked_over(
    pytester: pytest.Pytester, clean_environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = earlier_template(tmp_path)
    root = bake(tmp_path / "baked", template=earlier, project_name="Doubling", example="none")
    shutil.copy(PIPELINES / "doubling.py", root / "app/logic/pipeline.py")
    monkeypatch.chdir(root)
    project = Project(pytester, root)
    project.test(USES_PIPELINE)
    refused(project.run(), BEFORE_THE_DOOR.format(root=root))
    rebake(root)
    project.run("tests/test_it.py").assert_outcomes(passed=1)


def test_a_project_with_an_older_door_says_what_to_do(project: Project) -> None:
    set_version(project, OLDEST_DOOR - 1)
    refused(project.run(), OLDER.format(root=project.root))


def test_a_project_with_a_newer_door_says_what_to_do(project: Project) -> None:
    set_version(project, NEWEST_DOOR + 1)
    refused(project.run(), NEWER.format(root=project.root))
    refused(project.run("-n2", "app"), NEWER.format(root=project.root))


def test_plugin_and_template_of_one_checkout_fit() -> None:
    from denzel import testing

    assert testing.VERSION == NEWEST_DOOR
    assert f"pytest-denzel ({VERSION} fits)" in (TEMPLATE / "requirements-test.txt").read_text()
    assert f'\nversion = "{VERSION}"\n' in (REPOSITORY / "pyproject.toml").read_text()


# ---- What the plugin knows of a project -----------------------------------------------------------------------------

MODULES = sorted((REPOSITORY / "pytest_denzel").rglob("*.py"))
OF_PROJECTS = {"app", "commands", "denzel"}


def imports(tree: ast.AST) -> set[str]:
    """What a module imports, each name of a `from` by its dotted path."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_the_door_is_all_that_is_imported_or_named_of_a_project(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    ours = {name for name in imports(tree) if name.split(".")[0] in OF_PROJECTS}
    assert ours <= {"denzel.testing"}
    strings = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    named = [name for text in strings for name in re.findall(r"\b(?:app|commands|denzel)\.[a-z]\w+", text)]
    assert set(named) <= {"denzel.testing"}


def test_of_the_door_only_what_is_there_is_used() -> None:
    from denzel import testing

    used = set()
    for path in MODULES:
        source = path.read_text(encoding="utf-8")
        used.update(re.findall(r"\bdenzel\.testing import (\w+)", source))
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "testing":
                used.add(node.attr)
    there = {name for name, value in vars(testing).items() if getattr(value, "__module__", "") == testing.__name__}
    assert used <= there | {"HOST"}
    assert {name for name in there if not name.startswith("_")} <= used, "what nobody uses need not be kept stable"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_each_module_of_the_plugin_can_be_imported_first(path: Path) -> None:
    """So none needs another that needs it; the tests of a project and type checkers import any of them."""
    name = path.relative_to(REPOSITORY).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
    done = subprocess.run([sys.executable, "-c", f"import {name}"], cwd=TEMPLATE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
