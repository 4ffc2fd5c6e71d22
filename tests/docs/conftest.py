"""The pages of the documentation, and a place for what they need."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.local.running import make
from tests.support.bakery import REPOSITORY, bake

DOCS = REPOSITORY / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "site" not in path.parts)
IDS = [path.relative_to(DOCS).as_posix() for path in PAGES]


@pytest.fixture(scope="session")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with what projects need; kept beside the tests' own for the next time."""
    cache = Path(sys.prefix) / "demo" / "python{}.{}".format(*sys.version_info[:2])
    cache.mkdir(parents=True, exist_ok=True)
    project = bake(tmp_path_factory.mktemp("venv"))
    (project / ".venv").symlink_to(cache)
    done = make(project, "install")
    assert done.returncode == 0, done.stdout + done.stderr
    return cache


@pytest.fixture
def iris(tmp_path: Path, venv: Path) -> Path:
    """The Iris example, with its packages, in a folder of its own."""
    project = bake(tmp_path / "work")
    shutil.rmtree(tmp_path / "work" / ".cookiecutter", ignore_errors=True)
    (project / ".venv").symlink_to(venv)
    return project
