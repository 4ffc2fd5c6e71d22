"""Combinations of options: each one bakes, passes the linters and Docker Compose, and passes its own tests.

A few of them here; all by `make test ENV=matrix`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.bakery import REPOSITORY, TEMPLATE, bake
from tests.template import options

SPARSE: dict[str, options.Answers] = {
    "the defaults": {},
    "nothing but the skeleton": {"example": "none", "ci": "none"},
    "the example that brings its training": {"example": "regression"},
    "the opposite of the defaults": {
        "response": "async",
        "gpu": True,
        "broker": "rabbitmq",
        "stack": "full",
        "example": "none",
        "ci": "none",
    },
}
ALL = {options.name(answers): answers for answers in options.combinations()}
COMBINATIONS = ALL if os.environ.get("DENZEL_MATRIX") == "all" else SPARSE


@pytest.fixture(params=COMBINATIONS.values(), ids=COMBINATIONS.keys(), scope="module")
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bake(tmp_path_factory.mktemp("matrix"), **request.param)


def run(*words: str | Path, folder: Path) -> None:
    """Run a program in the project; it must succeed."""
    unwanted = ("PYTEST_ADDOPTS", "COMPOSE_FILE", "COMPOSE_PROJECT_NAME")
    environment = {name: value for name, value in os.environ.items() if name not in unwanted}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"


def test_python_files_pass_ruff(project: Path) -> None:
    configuration = TEMPLATE / "ci/github/ruff.toml"
    run(sys.executable, "-m", "ruff", "check", "--no-cache", "--config", configuration, ".", folder=project)


def test_yaml_files_pass_yamllint(project: Path) -> None:
    configuration = REPOSITORY / ".yamllint.yml"
    run(sys.executable, "-m", "yamllint", "--strict", "--config-file", configuration, ".", folder=project)


def test_shell_files_pass_shellcheck(project: Path) -> None:
    run("shellcheck", *project.glob("*.sh"), *project.glob("entrypoints/*.sh"), folder=project)


def test_docker_compose_accepts_the_project(project: Path) -> None:
    if shutil.which("docker") is None:
        if os.environ.get("CI"):
            pytest.fail("needs the docker command")
        pytest.skip("needs the docker command")
    run("docker", "compose", "config", "--quiet", folder=project)
    run("docker", "compose", "--env-file", ".env.example", "config", "--quiet", folder=project)


def test_the_projects_own_tests_pass(project: Path) -> None:
    run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", folder=project)
