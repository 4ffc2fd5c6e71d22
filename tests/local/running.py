"""Baked projects whose commands are run for real, without Docker."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.http import answers
from tests.support.ports import free_port
from tests.support.processes import command_line, tree_of
from tests.support.waiting import eventually

# Programs that a bare machine does not have.
NOT_BARE = ("redis", "valkey", "docker", "uv")
_SECONDS_TO_STOP = 5.0


def environment(**changes: str) -> dict[str, str]:
    """This environment, with the Python of the tests as `python3` and none of their own settings."""
    values = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MAKE", "MFLAGS", "PYTEST", "PYTHONDONTWRITEBYTECODE", "REDIS_URL"))
    }
    values["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**values, "NO_COLOR": "1", **changes}


def bare_path(folder: Path) -> str:
    """A PATH as that of a bare machine: python3, make and the usual tools, but no Redis, Docker or uv."""
    folder.mkdir()
    (folder / "python3").symlink_to(sys.executable)
    for directory in ("/usr/bin", "/bin", "/usr/sbin", "/sbin"):
        for program in Path(directory).iterdir() if Path(directory).is_dir() else ():
            link = folder / program.name
            if not program.name.startswith((*NOT_BARE, "python", "pip")) and not os.path.lexists(link):
                link.symlink_to(program)
    return str(folder)


def make(project: Path, *words: str, timeout: float = 300, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the project."""
    return subprocess.run(
        ["make", "--no-print-directory", *words],
        cwd=project,
        env=environment(**changes),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


@contextlib.contextmanager
def shared_venv(project: Path) -> Iterator[None]:
    """Give the project the .venv that the demo keeps: packages are installed once for all tests, and for the demo."""
    cache = Path(sys.prefix) / "demo" / "python{}.{}".format(*sys.version_info[:2])
    cache.mkdir(parents=True, exist_ok=True)
    (project / ".venv").symlink_to(cache)
    with open(cache.with_name(f"{cache.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Dev:
    """A `make dev`, started in a session of its own as a terminal does."""

    def __init__(self, project: Path, *words: str, terminal: int | None = None, **changes: str) -> None:
        self.project = project
        self.output = project / "dev.txt"
        self.marker = project / ".denzel" / "dev.json"
        with self.output.open("w") as output:
            self.make = subprocess.Popen(
                ["make", "--no-print-directory", "dev", *words],
                cwd=project,
                env=environment(**changes),
                stdin=subprocess.DEVNULL if terminal is None else terminal,
                stdout=output if terminal is None else terminal,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.seen: set[int] = set()

    def text(self) -> str:
        """Everything that it has printed."""
        return self.output.read_text()

    def wait_for(self, text: str, seconds: float = 60) -> None:
        """Wait until it has printed this."""
        eventually(lambda: text in self.text() or self.make.poll() is not None, self.text, seconds)
        assert text in self.text(), self.text()

    def wait_until_ready(self, seconds: float = 90) -> dict[str, Any]:
        """Wait until the service can predict; what .denzel/dev.json says."""
        eventually(lambda: self.make.poll() is not None or self._is_ready(), self.text, seconds)
        assert self.make.poll() is None, self.text()
        self.processes()
        return json.loads(self.marker.read_text())

    def _is_ready(self) -> bool:
        try:
            url = json.loads(self.marker.read_text())["api_url"]
        except (OSError, ValueError):
            return False
        return answers(f"{url}/ready", timeout=2)

    def processes(self) -> dict[int, str]:
        """make and all of its descendants, by id with their command lines; they are remembered."""
        found = tree_of(self.make.pid)
        self.seen |= found
        return {pid: command_line(pid) for pid in found}

    def child(self, words: str) -> int:
        """The descendant whose command line holds this."""
        return next(pid for pid, line in self.processes().items() if words in line)

    def survivors(self) -> dict[int, str]:
        """The remembered processes that still run."""
        return {pid: line for pid in self.seen if (line := command_line(pid))}

    def assert_gone(self, seconds: float = _SECONDS_TO_STOP) -> None:
        """Within the time nothing is left: no process, no marker."""
        eventually(
            lambda: self.make.poll() is not None and not self.survivors(),
            lambda: f"all ends: {self.survivors()}",
            seconds,
        )
        eventually(lambda: not self.marker.exists(), "the marker is gone", 1)

    def end(self) -> None:
        """Stop it, however it is."""
        if self.make.poll() is None:
            self.make.send_signal(signal.SIGTERM)
            try:
                self.make.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(self.make.pid, signal.SIGKILL)
                self.make.wait()


def free_ports() -> list[str]:
    """The words that give `make dev` ports of its own."""
    return [f"API_PORT={free_port()}", f"MONITOR_PORT={free_port()}"]


@contextlib.contextmanager
def dev(project: Path, *words: str, **changes: str) -> Iterator[Dev]:
    """`make dev` for as long as the block lasts."""
    running = Dev(project, *words, **changes)
    try:
        yield running
    finally:
        running.end()
