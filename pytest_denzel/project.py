"""The project under test: found by its door, `denzel/testing.py`, and put on `sys.path`.

That module is all that the plugin imports of a project, and the only thing that it starts by name. It is imported where
it is used, as `from denzel import testing`; `Project.check_door` has made sure that it is of a version known here.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_denzel import __version__, messages

DOOR = Path("denzel/testing.py")
PIPELINE = Path("app/logic/pipeline.py")

# The source of a project that may be tested by another project's tests: that is what it was named for.
BY_COMMAND_LINE = "--denzel-project"

# The versions of the door that this plugin works with.
OLDEST_DOOR, NEWEST_DOOR = 1, 1

# A project that was baked before there was a door has the second of these, of the framework, among the user's.
_BEFORE_THE_DOOR = (PIPELINE, Path("app/stages.py"), Path("commands/__main__.py"))


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
        if not is_project(self.root):
            return self.root.name
        from denzel import testing

        return testing.slug()

    def read_env(self) -> dict[str, str]:
        """The settings of `.env`, as the project's own commands read them; empty where there is none."""
        from denzel import testing

        return testing.read_env()

    def examples(self) -> list[Path]:
        """The files of the example requests, in the order of their names."""
        from denzel import testing

        return testing.example_files()

    def working_directory(self) -> contextlib.AbstractContextManager[None]:
        """Run the body in the project's folder, where the user's code expects to be.

        The working directory is one for all threads: the last of those that are inside restores it.
        """
        return _WorkingDirectory(self.root)

    def put_on_path(self) -> None:
        """Make `app` and `denzel` of this project importable, before any others of these names."""
        if (root := str(self.root)) not in sys.path:
            sys.path.insert(0, root)

    def take_off_path(self) -> None:
        """Undo `put_on_path`."""
        with contextlib.suppress(ValueError):
            sys.path.remove(str(self.root))

    def check_door(self) -> None:
        """Make sure that this project, which is on the path, and this plugin fit together.

        Raises:
            pytest.UsageError: they do not; says what to do.
        """
        if not is_project(self.root):
            if _is_older_project(self.root):
                raise pytest.UsageError(messages.baked_before_the_door(self.root, __version__))
            return  # told where a fixture needs the project
        from denzel import testing

        version = getattr(testing, "VERSION", 0)
        if version > NEWEST_DOOR:
            raise pytest.UsageError(messages.door_is_newer(self.root, __version__, version, NEWEST_DOOR))
        if version < OLDEST_DOOR:
            raise pytest.UsageError(messages.door_is_older(self.root, __version__, version, OLDEST_DOOR))


class _WorkingDirectory:
    _lock = threading.Lock()
    _inside = 0
    _before = ""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        shared = _WorkingDirectory
        with shared._lock:
            if shared._inside == 0:
                shared._before = os.getcwd()
            os.chdir(self._folder)
            shared._inside += 1

    def __exit__(self, *_: object) -> None:
        shared = _WorkingDirectory
        with shared._lock:
            shared._inside -= 1
            if shared._inside == 0:
                os.chdir(shared._before)


def is_project(folder: Path) -> bool:
    """Whether a folder is a Denzel project's, also when its pipeline is missing."""
    return (folder / DOOR).is_file()


def _is_older_project(folder: Path) -> bool:
    return all((folder / file).is_file() for file in _BEFORE_THE_DOOR)


def find(named: Path | None, source: str, config: pytest.Config) -> Project | None:
    """The project of a run: the one that was named, else the one that the tests named lie in, else the one around the
    current folder, around the folders of `testpaths`, or around the ini file; of whatever version.

    Raises:
        pytest.UsageError: they lie in several, or in another one than the one that was named for all runs.
    """
    start = config.invocation_params.dir
    arguments = [argument.split("::")[0] for argument in config.known_args_namespace.file_or_dir or []]
    places = [start / argument for argument in arguments]
    if named is not None:
        folders = {nearest(place) for place in places or [start]} - {None}
        others = [folder for folder in folders if folder and folder.resolve() != named.resolve()]
        if others and source != BY_COMMAND_LINE:
            raise pytest.UsageError(messages.other_project(named, source, sorted(others)))
        return Project(named, source)
    if found := _only_one(places):
        return found
    if (folder := nearest(start)) is not None:
        return Project(folder, "found")
    if not arguments and start == config.rootpath and (found := _only_one(_testpaths(config))):
        return found
    return _only_one([config.rootpath])


def nearest(place: Path) -> Path | None:
    """The folder of the project that a file or folder belongs to: the innermost one around it."""
    place = Path(os.path.abspath(place))
    return next((folder for folder in (place, *place.parents) if is_any_project(folder)), None)


def is_any_project(folder: Path) -> bool:
    """Whether a folder is a Denzel project's, of whatever version."""
    return is_project(folder) or _is_older_project(folder)


def _only_one(places: Iterable[Path]) -> Project | None:
    folders = {folder.resolve(): folder for place in places if (folder := nearest(place))}
    if len(folders) > 1:
        raise pytest.UsageError(messages.several_projects(folders.values()))
    return Project(next(iter(folders.values())), "found") if folders else None


def _testpaths(config: pytest.Config) -> list[Path]:
    patterns = config.getini("testpaths")
    return [place for pattern in patterns for place in sorted(config.rootpath.glob(pattern.rstrip("/")))]


PROJECT: pytest.StashKey[Project | None] = pytest.StashKey()
CURRENT_TEST: pytest.StashKey[pytest.Item] = pytest.StashKey()
