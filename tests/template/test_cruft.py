"""cruft, which keeps projects up to date with their template by git: `cruft create`, `cruft update`."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.bakery import REPOSITORY, TEMPLATE, configuration

pytestmark = pytest.mark.skipif(not importlib.util.find_spec("cruft"), reason="cruft is not installed")


class Git:
    """A repository, and programs run in it."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
            "HOME": str(home),
            "COOKIECUTTER_CONFIG": str(configuration(home)),
            "GIT_CONFIG_NOSYSTEM": "1",
            **{
                f"GIT_{who}_{what}": "tester@example.com"
                for who in ("AUTHOR", "COMMITTER")
                for what in ("NAME", "EMAIL")
            },
        }

    def run(self, *words: str) -> str:
        done = subprocess.run(words, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def commit(self, *options: str) -> None:
        """Make it a repository, with all that is in the folder."""
        self.run("git", "init", "--quiet")
        self.run("git", "add", "--all", *options)
        self.run("git", "commit", "--quiet", "--message", "a step")


@pytest.fixture
def template(tmp_path: Path) -> Git:
    """A repository with the template as it is now."""
    folder = tmp_path / "template"
    for name in ("hooks", TEMPLATE.name):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "cookiecutter.json", folder)
    git = Git(folder, tmp_path / "home")
    git.commit("--force")  # the template's own .gitignore is for projects
    return git


def cruft(*words: str) -> list[str]:
    return [sys.executable, "-m", "cruft", *words]


@pytest.mark.parametrize("answers", [{}, {"example": "none", "response": "async"}])
def test_a_project_is_created_and_updated(template: Git, tmp_path: Path, answers: dict[str, str]) -> None:
    folder = tmp_path / "projects"
    folder.mkdir()
    extra = [f"--extra-context={json.dumps(answers)}"]
    shown = Git(folder, tmp_path / "home").run(*cruft("create", str(template.folder), "--no-input", *extra))
    assert "make launch" in shown
    project = Git(folder / "iris_classifier", tmp_path / "home")
    path = project.folder
    project.commit()
    assert not (path / "examples").exists()
    # as any command it makes .env from its example
    subprocess.run(["make", "status"], cwd=path, env=project.environment, capture_output=True)
    env = (path / ".env").read_text()
    assert "__GENERATED__" not in env
    assert f"SYNC_TIMEOUT={'0' if answers else '5.0'}\n" in env

    (path / "app/logic/pipeline.py").write_text("# mine\n")
    project.run("git", "commit", "--quiet", "--all", "--message", "mine")
    with (template.folder / TEMPLATE.name / "denzel/signing.py").open("a") as file:
        file.write("# new\n")
    with (template.folder / TEMPLATE.name / ".env").open("a") as file:
        file.write("NEW_SETTING=1\n")
    template.run("git", "commit", "--quiet", "--all", "--message", "a new version")
    shown = project.run(*cruft("update", "--skip-apply-ask"))
    assert not list(path.rglob("*.rej")), shown
    assert (path / "denzel/signing.py").read_text().endswith("# new\n")
    assert (path / ".env.example").read_text().endswith("NEW_SETTING=1\n")
    assert (path / "app/logic/pipeline.py").read_text() == "# mine\n"
    assert (path / ".env").read_text() == env
    changed = {line[3:] for line in project.run("git", "status", "--porcelain").splitlines()}
    assert changed == {".cruft.json", ".env.example", "denzel/signing.py"}
    assert "up to date" in project.run(*cruft("check"))
