"""The Denzel project under test: found, put on `sys.path`, and its `app.logic.pipeline` imported."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PIPELINE = Path("app/logic/pipeline.py")
EXAMPLES = Path("app/assets/examples")

# The framework's own file tells a project from any other folder, also when its pipeline is missing.
_MARKS = (PIPELINE, Path("denzel/pipeline/stages.py"))


@dataclass(frozen=True)
class Project:
    """A project made with denzel-template.

    Attributes:
        root: its folder, the working directory of the user's code.
        source: how it was found, for the header.
    """

    root: Path
    source: str

    @property
    def name(self) -> str:
        """The project's slug, as `.env` has it; else the folder's name."""
        env = self.read_env()
        return env.get("PROJECT_SLUG") or env.get("COMPOSE_PROJECT_NAME") or self.root.name

    def read_env(self) -> dict[str, str]:
        """The settings of `.env`, as the project's own commands read them; empty where there is none."""
        try:
            from commands.shared.env import read_env
            from commands.shared.project import CommandError
        except ImportError:  # a copy of the service without its commands
            return {}
        try:
            return read_env()
        except CommandError:
            return {}

    def examples(self) -> list[Path]:
        """The files of the example requests, in the order of their names."""
        return sorted((self.root / EXAMPLES).glob("*.json"))

    @contextlib.contextmanager
    def working_directory(self) -> Iterator[None]:
        """Run the body in the project's folder, where the user's code expects to be."""
        before = os.getcwd()
        os.chdir(self.root)
        try:
            yield
        finally:
            os.chdir(before)

    def put_on_path(self) -> None:
        """Make `app` of this project importable, before any other `app`."""
        if (root := str(self.root)) not in sys.path:
            sys.path.insert(0, root)

    def take_off_path(self) -> None:
        """Undo `put_on_path`."""
        with contextlib.suppress(ValueError):
            sys.path.remove(str(self.root))


def is_project(folder: Path) -> bool:
    """Whether a folder is a Denzel project's."""
    return any((folder / mark).is_file() for mark in _MARKS)


def find(named: Path | None, source: str, places: Iterable[Path]) -> Project | None:
    """The project that was named, else the one around the first of these places that is in one."""
    if named is not None:
        return Project(named, source)
    for place in places:
        for folder in (place, *place.parents):
            if is_project(folder):
                return Project(folder, "found")
    return None


PROJECT: pytest.StashKey[Project | None] = pytest.StashKey()
