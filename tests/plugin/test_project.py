"""Finding the project; and doing nothing where there is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugin.conftest import Project

NO_PROJECT = [
    "No Denzel project found: no denzel/testing.py in {folder}, nor in a folder above.",
    "Run pytest inside the project, or name its folder: --denzel-project=PATH (or denzel_project in the ini file).",
]
SHORT_NAMES = ("pipeline", "model", "verify_input", "process", "predict", "api_client")
USES_PIPELINE = "def test_it(pipeline):\n    assert pipeline.run({'data': {'a': 1}}) == {'a': 2}\n"


def test_the_project_is_found_from_a_folder_within_it(project: Project, pytester: pytest.Pytester) -> None:
    project.test(USES_PIPELINE)
    pytester.chdir()
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q"], cwd=project.root / "tests", capture_output=True, text=True
    )
    assert "1 passed" in result.stdout


def test_the_project_is_found_from_the_tests_that_are_named(project: Project, pytester: pytest.Pytester) -> None:
    project.test(USES_PIPELINE)
    pytester.chdir()
    result = project.run("doubling/tests/test_it.py")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"denzel: project doubling ({project.root})"])


def test_the_project_can_be_named(project: Project, pytester: pytest.Pytester) -> None:
    pytester.chdir()
    pytester.makepyfile(USES_PIPELINE)
    result = project.run("--denzel-project=doubling", "test_the_project_can_be_named.py")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"denzel: project doubling ({project.root}, from --denzel-project)"])


def test_the_ini_file_names_it_from_its_own_folder(project: Project, pytester: pytest.Pytester) -> None:
    pytester.chdir()
    pytester.makeini("[pytest]\ndenzel_project = doubling\n")
    (pytester.path / "elsewhere").mkdir()
    pytester.path.joinpath("elsewhere/test_it.py").write_text(USES_PIPELINE)
    project.run("elsewhere").assert_outcomes(passed=1)


def test_a_named_folder_that_is_no_project_is_told(pytester: pytest.Pytester, clean_environment: Path) -> None:
    pytester.makepyfile("def test_it(pipeline): pass")
    result = pytester.runpytest_subprocess("--denzel-project=.")
    result.stdout.fnmatch_lines(
        [f"--denzel-project: {pytester.path} is not a Denzel project: it has no denzel/testing.py."]
    )


def test_a_conftest_may_import_the_project(project: Project) -> None:
    project.write("tests/conftest.py", "from app.logic import pipeline as module\n")
    project.test(
        """
        from tests_conftest import module

        def test_it(pipeline):
            assert pipeline.module is module
        """.replace("from tests_conftest import module", "from app.logic import pipeline as module")
    )
    project.run("tests").assert_outcomes(passed=1)


def test_user_code_runs_in_the_project_s_folder(project: Project, pytester: pytest.Pytester) -> None:
    project.pipeline(
        """
        from pathlib import Path

        at_import = Path("app/assets/info.txt").exists()

        def verify_input(json_data):
            return {"verify_input": Path("app/assets/info.txt").exists(), "import": at_import}

        def load_model():
            return Path("app/assets/info.txt").exists()

        def process(model, json_data):
            return {**json_data, "load_model": model, "process": Path("app/assets/info.txt").exists()}

        def predict(model, data):
            return {**data, "predict": Path("app/assets/info.txt").exists()}
        """
    )
    project.test(
        """
        import os

        def test_it(pipeline):
            before = os.getcwd()
            stages = ["import", "load_model", "predict", "process", "verify_input"]
            assert pipeline.run({}) == dict.fromkeys(stages, True)
            assert os.getcwd() == before
        """
    )
    pytester.chdir()
    project.run("doubling/tests").assert_outcomes(passed=1)


def test_without_a_project_nothing_is_said_or_collected(pytester: pytest.Pytester, clean_environment: Path) -> None:
    pytester.makepyfile("def test_it(): pass")
    folder = pytester.mkdir("assets")
    (folder / "examples.json").write_text("{}")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1)
    assert "denzel:" not in result.stdout.str()


@pytest.mark.parametrize("fixture", [f"denzel_{name}" for name in (*SHORT_NAMES, "service", "url")])
def test_without_a_project_a_fixture_says_where_it_looked(
    pytester: pytest.Pytester, clean_environment: Path, fixture: str
) -> None:
    pytester.makepyfile(f"def test_it({fixture}): pass")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([line.format(folder=pytester.path) for line in NO_PROJECT], consecutive=True)


def test_fixtures_of_the_same_name_elsewhere_win(pytester: pytest.Pytester, clean_environment: Path) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def model():
            return "mine"

        def test_it(model):
            assert model == "mine"
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
