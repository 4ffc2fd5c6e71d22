"""Baked projects whose commands are run for real, without Docker."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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


def until(condition: Callable[[], Any], seconds: float, what: Callable[[], str] | str = "") -> Any:
    """Wait until the condition holds; its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what() if callable(what) else what}")
        time.sleep(0.05)
    return value


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
        until(lambda: text in self.text() or self.make.poll() is not None, seconds, self.text)
        assert text in self.text(), self.text()

    def wait_until_ready(self, seconds: float = 90) -> dict[str, Any]:
        """Wait until the service can predict; what .denzel/dev.json says."""
        until(lambda: self.make.poll() is not None or self._is_ready(), seconds, self.text)
        assert self.make.poll() is None, self.text()
        self.processes()
        return json.loads(self.marker.read_text())

    def _is_ready(self) -> bool:
        try:
            url = json.loads(self.marker.read_text())["api_url"]
            with urllib.request.urlopen(f"{url}/ready", timeout=2):
                return True
        except (OSError, ValueError, urllib.error.URLError):
            return False

    def processes(self) -> dict[int, str]:
        """make and all of its descendants, by id with their command lines; they are remembered."""
        parents, found = {}, {self.make.pid}
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                stat = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
                parents[int(entry)] = int(stat[1])
        while children := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= children
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
        until(lambda: self.make.poll() is not None and not self.survivors(), seconds, lambda: f"{self.survivors()}")
        until(lambda: not self.marker.exists(), 1, "the marker is still there")

    def end(self) -> None:
        """Stop it, however it is."""
        if self.make.poll() is None:
            self.make.send_signal(signal.SIGTERM)
            try:
                self.make.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(self.make.pid, signal.SIGKILL)
                self.make.wait()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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


def command_line(pid: int) -> str:
    """The command line of a process, empty when it has ended."""
    try:
        return Path("/proc", str(pid), "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""
