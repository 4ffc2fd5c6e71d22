"""The regression example, to train and to serve."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bakery import bake
from tests.support.services import Service


@pytest.fixture(scope="session")
def baked_regression(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A freshly baked regression example; to be copied, not changed."""
    return bake(tmp_path_factory.mktemp("regression"), project_slug="regression", example="regression")


@pytest.fixture
def project(baked_regression: Path, tmp_path: Path) -> Path:
    """A project of its own for each test."""
    return Path(shutil.copytree(baked_regression, tmp_path / "regression"))


@pytest.fixture
def regression(project: Path) -> Iterator[Service]:
    """Its service, of which nothing runs yet."""
    with Service(project) as service:
        yield service
