"""A test session with services: the folder that its processes share, its locks, and its end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from pytest_denzel.tiers import sweep

SESSION: pytest.StashKey[Session] = pytest.StashKey()


class Session:
    """One run of pytest, with all of its xdist workers; its owner is the process that was started by the user.

    Nothing is written before a service is needed.
    """

    def __init__(self, name: str, owner: int, worker: str | None) -> None:
        self.name = name
        self.worker = worker
        self._owner = owner

    @property
    def is_owner(self) -> bool:
        """Whether this process is the one that cleans up."""
        return self.worker is None

    @property
    def number(self) -> int:
        """The xdist worker's number, from 0."""
        return int((self.worker or "gw0").removeprefix("gw"))

    @property
    def folder(self) -> Path:
        """The session's folder; it exists once `open` was called."""
        return sweep.base_folder() / self.name

    @property
    def logs(self) -> Path:
        """The folder of the services' logs."""
        return self.folder / "logs"

    @property
    def exists(self) -> bool:
        """Whether a process of this session has opened it."""
        return (self.folder / sweep.OWNER).exists()

    def open(self) -> None:
        """Make the session's folder, start its janitor, and remove what dead sessions left behind."""
        base = sweep.base_folder()
        with _locked(base / ".lock", fcntl.LOCK_EX):
            if self.exists:
                return
            sweep.sweep(base)
            self.logs.mkdir(parents=True, exist_ok=True)
            # the containers' user, whoever that is, writes its log here; the base folder is private
            self.logs.chmod(0o777)
            sweep.write_json(self.folder / sweep.OWNER, sweep.identity(self._owner))
            _start(sweep.command("watch", self.folder))

    def run(self, name: str, program: list[str], environment: dict[str, str], folder: Path) -> None:
        """Start a service that outlives this process, if need be, but not the session."""
        environment = {**environment, sweep.MARK: self.name}
        _start(sweep.command("run", self.folder, name, *program), env=environment, cwd=folder)

    def service(self, name: str) -> dict[str, Any]:
        """The pid of a service that was started by `run`, and its exit code once it has ended."""
        return sweep.read_json(self.folder / f"{name}.json") or {}

    @property
    def state(self) -> dict[str, Any]:
        """What the session's processes know together."""
        return sweep.read_json(self.folder / "state.json") or {}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        sweep.write_json(self.folder / "state.json", state)

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Only one process of the session at a time starts services."""
        with _locked(self.folder / "starting.lock", fcntl.LOCK_EX):
            yield

    def keep(self) -> None:
        """Leave everything as it is when the session ends."""
        (self.folder / sweep.KEEP).touch()

    def close(self, grace: float) -> None:
        """End the services and remove the folder."""
        sweep.remove(self.folder, grace)


class Turn:
    """The services are shared by the session's tests: many may use them at a time, one may disturb them alone."""

    def __init__(self, session: Session) -> None:
        self._file = open(session.folder / "turn.lock", "w")  # noqa: SIM115 - closed by `release`
        self.exclusive = False
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def make_exclusive(self) -> None:
        """Wait until no other test uses the services, and keep others away until this one has ended."""
        if not self.exclusive:
            fcntl.flock(self._file, fcntl.LOCK_EX)  # lets go of the shared lock first: two that wait do not block
            self.exclusive = True

    def release(self) -> None:
        """The test has ended."""
        self._file.close()


def of(config: pytest.Config) -> Session:
    """The session of this run; the same one in all of its xdist workers."""
    if SESSION not in config.stash:
        given = getattr(config, "workerinput", {}).get("denzel_session")
        if given:
            config.stash[SESSION] = Session(given["name"], given["owner"], config.workerinput["workerid"])  # type: ignore[attr-defined]
        else:
            config.stash[SESSION] = Session(secrets.token_hex(4), os.getpid(), None)
    return config.stash[SESSION]


def for_worker(config: pytest.Config) -> dict[str, Any]:
    """What an xdist worker must know to join this session."""
    return {"name": of(config).name, "owner": os.getpid()}


@contextlib.contextmanager
def _locked(path: Path, how: int) -> Iterator[IO[str]]:
    with open(path, "w") as file:
        fcntl.flock(file, how)
        yield file


def _start(command: list[str], **options: Any) -> None:
    subprocess.run(
        command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options
    )
