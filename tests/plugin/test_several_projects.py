"""Several projects beside each other: no test of one is ever run against another one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.plugin.conftest import Project

SEVERAL = (
    "ERROR: One run of pytest tests one Denzel project, and these tests belong to several. Run each by itself:\n"
    "  cd {one} && pytest\n"
    "  cd {two} && pytest"
)
NAMED = (
    "ERROR: {source} names the project {one}, and these tests belong to another one, which it would not test. "
    "Run them by themselves, without that setting:\n"
    "  cd {two} && pytest\n"
    "(To run the tests of one project against another one, name that by --denzel-project.)"
)
TEST = "def test_it(pipeline):\n    assert pipeline.run({'data': {'a': 1}}) == {'a': 2}\n"


@pytest.fixture
def two(project: Project, pytester: pytest.Pytester) -> tuple[Project, Project]:
    """One project that works, and one whose pipeline raises; the current folder is the one above."""
    project.test(TEST, "test_one")
    other = Project(pytester, pytester.path / "v2")
    shutil.copytree(project.root, other.root)
    (other.root / "tests/test_one.py").rename(other.root / "tests/test_two.py")
    other.edit_pipeline("def predict(", "def predict(*_):\n    raise ValueError('v2 is broken')\n\n\ndef _predict(")
    pytester.chdir()
    return project, other


def refused(result: pytest.RunResult, text: str) -> None:
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.stderr.str().strip() == text


@pytest.mark.parametrize("options", [[], ["-n2"]], ids=["alone", "xdist"])
def test_two_that_are_named_are_refused(two: tuple[Project, Project], options: list[str]) -> None:
    text = SEVERAL.format(one=two[0].root, two=two[1].root)
    refused(two[0].run(*options, "doubling", "v2"), text)
    refused(two[0].run(*options, "doubling/tests/test_one.py::test_it", "v2/app"), text)


def test_two_below_the_current_folder_are_refused(two: tuple[Project, Project]) -> None:
    refused(two[0].run(), SEVERAL.format(one=two[0].root, two=two[1].root))


def test_two_in_testpaths_are_refused(two: tuple[Project, Project], pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ntestpaths = doubling/tests v2/tests\n")
    refused(two[0].run(), SEVERAL.format(one=two[0].root, two=two[1].root))


@pytest.mark.parametrize("options", [[], ["-n2"]], ids=["alone", "xdist"])
def test_one_below_the_current_folder_is_used(
    two: tuple[Project, Project], options: list[str], sessions: object
) -> None:
    project, other = two
    shutil.rmtree(other.root)
    project.write("tests/conftest.py", "from app.logic import pipeline as module\n")
    project.test("def test_it(denzel_service):\n    assert denzel_service.predict({'data': {'a': 1}}) == {'a': 2}")
    result = project.run(*options)
    result.assert_outcomes(passed=3, skipped=1)
    if not options:
        result.stdout.fnmatch_lines([f"denzel: project doubling ({project.root})"])
    assert sessions() == []  # type: ignore[operator]


def test_a_project_beside_the_tests_that_are_run_is_left_alone(
    two: tuple[Project, Project], pytester: pytest.Pytester
) -> None:
    for name in ("a", "x"):
        pytester.mkdir(name).joinpath(f"test_{name}.py").write_text("def test_it(): pass")
    result = two[0].run("a", "x/test_x.py")
    result.assert_outcomes(passed=2)
    assert "denzel:" not in result.stdout.str()


def test_the_tests_of_another_project_than_the_current_folder_s_test_their_own(
    two: tuple[Project, Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, other = two
    monkeypatch.chdir(project.root)
    result = project.run("../v2/tests")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"denzel: project doubling ({other.root})", "E*ValueError: v2 is broken"])


def test_a_project_inside_another_one_is_a_project_of_its_own(
    two: tuple[Project, Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, other = two
    shutil.move(other.root, project.root / "tests/v2")
    monkeypatch.chdir(project.root)
    refused(project.run("tests"), SEVERAL.format(one=project.root, two=project.root / "tests/v2"))


def test_a_setting_that_was_forgotten_tests_no_other_project(
    two: tuple[Project, Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, other = two
    monkeypatch.setenv("DENZEL_PROJECT", str(project.root))
    monkeypatch.chdir(other.root)
    source = "DENZEL_PROJECT in the environment"
    refused(other.run(), NAMED.format(source=source, one=project.root, two=other.root))
    refused(other.run("tests/test_two.py"), NAMED.format(source=source, one=project.root, two=other.root))


def test_the_command_line_may_test_one_project_by_another_one_s_tests(two: tuple[Project, Project]) -> None:
    two[0].run("--denzel-project=doubling", "v2/tests").assert_outcomes(passed=1)
    two[0].run("--denzel-project=v2", "doubling/tests").assert_outcomes(failed=1)


def test_a_project_from_before_the_door_is_told_where_it_is_found_below(two: tuple[Project, Project]) -> None:
    project, other = two
    shutil.rmtree(other.root)
    (project.root / "denzel/testing.py").unlink()
    project.write("app/stages.py", "")
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: {project.root} was baked from a template that is older" in result.stderr.str()


def test_any_app_with_stages_is_no_project(pytester: pytest.Pytester, clean_environment: Path) -> None:
    for name in ("app/stages.py", "app/logic/pipeline.py"):
        pytester.path.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        pytester.path.joinpath(name).touch()
    pytester.makepyfile("def test_it(): pass")
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
