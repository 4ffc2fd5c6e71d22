"""A baked project with its packages installed, and one that has nothing to install."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local.running import Dev, dev, free_ports, make, shared_venv
from tests.support.bakery import bake

REQUIREMENTS = ("requirements-denzel.txt", "requirements.txt", "requirements-test.txt")


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Iris project with everything installed by the command that users would take."""
    project = bake(tmp_path_factory.mktemp("iris project"))  # with a space in its path
    with shared_venv(project):
        done = make(project, "install")
    assert done.returncode == 0, done.stdout + done.stderr
    return project


@pytest.fixture(scope="module")
def iris_dev(installed: Path) -> Iterator[Dev]:
    """The Iris project, served by `make dev`."""
    with dev(installed, *free_ports()) as running:
        running.wait_until_ready()
        yield running


@pytest.fixture(scope="session")
def empty_venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose requirement files ask for nothing, installed: its .venv is made in a moment."""
    project = bake(tmp_path_factory.mktemp("empty"), example="none", project_name="Empty")
    for name in REQUIREMENTS:
        (project / name).write_text("# nothing\n")
    done = make(project, "install")
    assert done.returncode == 0, done.stdout + done.stderr
    return project


@pytest.fixture
def plain(empty_venv: Path, tmp_path: Path) -> Path:
    """A copy of the project that has nothing to install, to do with as one likes; its .venv is the original's."""
    project = tmp_path / "plain project"
    shutil.copytree(empty_venv, project, ignore=shutil.ignore_patterns(".venv", ".denzel"))
    (project / ".venv").symlink_to(empty_venv / ".venv")
    return project
