"""The commands' own modules, as they lie in the template, on a project of each test's own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.bakery import TEMPLATE, bake

sys.path.insert(0, str(TEMPLATE))

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def baked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A baked project whose name no other has; only commands that change nothing run in it."""
    return bake(tmp_path_factory.mktemp("it's a folder"), project_slug=f"denzel_commands_{os.getpid()}")


@pytest.fixture
def make(baked: Path) -> Run:
    """Run a command of the Makefile, with these variables in the environment."""

    def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
        return subprocess.run(
            ["make", *words],
            cwd=baked,
            env=inherited | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The .env that the modules in this process read and write."""
    from commands.shared import env

    path = tmp_path / ".env"
    monkeypatch.setattr(env, "ENV_FILE", path)
    return path
