"""The GitHub workflow: safe, and its steps are what they say when they run in a clone."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.bakery import TEMPLATE, bake

TEXT = (TEMPLATE / "ci/github/.github/workflows/ci.yml").read_text(encoding="utf-8")
WORKFLOW: dict[Any, Any] = yaml.safe_load(TEXT)
STEPS = {step["name"]: step["run"] for job in WORKFLOW["jobs"].values() for step in job["steps"] if "run" in step}


def test_actions_are_pinned_to_commits_and_say_their_version() -> None:
    uses = re.findall(r"uses: (.*)", TEXT)
    assert uses
    for use in uses:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", use), use


def test_the_workflow_may_read_the_code_and_nothing_else() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    for job in WORKFLOW["jobs"].values():
        assert "permissions" not in job
        assert job["timeout-minutes"] <= 30
        assert job["steps"][0]["with"] == {"persist-credentials": False}


def test_no_expression_enters_a_shell() -> None:
    assert not [text for text in STEPS.values() if "${{" in text]


def test_it_runs_the_projects_own_commands() -> None:
    assert STEPS["Test the pipeline and the API"] == "make test"
    assert STEPS["Look for known weaknesses of the packages"] == "make audit"
    assert STEPS["Test the service on its containers"] == "make e2e"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What GitHub checks out: the project as git keeps it."""
    project = bake(tmp_path / "baked", gpu=True, broker="rabbitmq")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run([*git, "init", "-q", "-b", "main"], cwd=project, check=True)
    subprocess.run([*git, "add", "-A"], cwd=project, check=True)
    subprocess.run([*git, "commit", "-q", "-m", "A project"], cwd=project, check=True)
    subprocess.run([*git, "clone", "-q", str(project), str(tmp_path / "clone")], check=True)
    return tmp_path / "clone"


def bash(script: str, folder: Path) -> str:
    done = subprocess.run(["bash", "-e"], input=script, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_clone_makes_an_env_of_its_own(clone: Path) -> None:
    assert not (clone / ".env").exists()
    bash(STEPS["Leave out the GPU"], clone)
    said = bash("make doctor || true", clone)
    assert said.startswith("Made .env from .env.example, with new secrets.\n")
    env = (clone / ".env").read_text(encoding="utf-8")
    assert "\nCOMPOSE_FILE=docker-compose.yml:docker-compose.rabbitmq.yml\n" in env
    assert "__GENERATED__" not in env
    assert re.search(r"^CALLBACK_SECRET=whsec_[\w+/]{48}$", env, re.MULTILINE)
    assert (clone / ".env").stat().st_mode & 0o777 == 0o600
    assert env != (clone.parent / "baked/iris_classifier/.env").read_text(encoding="utf-8")
    assert "Made .env" not in bash("make doctor || true", clone)


def test_the_lint_steps_accept_the_project(clone: Path) -> None:
    pinned = re.compile(r"pipx run (\w+)==[\d.]+")  # here the tests' own version does
    assert pinned.match(STEPS["Lint the Python code"])
    bash(pinned.sub(r"\1", STEPS["Lint the Python code"]), clone)
    bash(STEPS["Lint the shell scripts"], clone)
