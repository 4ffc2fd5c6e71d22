"""The data of `make dev`'s own Redis, as a backup is made of them and put in their place."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from commands.local import embedded_redis
from commands.local.dev_redis import DATA
from commands.shared import redis_data, snapshot
from commands.shared.env import read_env
from commands.shared.ports import redis_url
from commands.shared.project import ROOT, CommandError
from commands.shared.running import running_dev
from commands.shared.waiting import wait_for

NAME = "make dev"
_PATIENCE = 60.0  # seconds for a Redis to read its data


def exist() -> bool:
    """Whether there are any."""
    return any((DATA / name).exists() for name in ("appendonlydir", "appendonly.aof"))


def runs() -> bool:
    """Whether they are in use."""
    dev = running_dev()
    return bool(dev and "redis" in dev["services"])


def chunks() -> Iterator[bytes]:
    """The data of one moment, of the Redis that runs or of one that runs for that."""
    dev = running_dev()
    if dev and "redis" in dev["services"]:
        yield from snapshot.of_server(dev["redis_url"])
        return
    with _started() as url:
        yield from snapshot.of_server(url)


def server_version() -> str:
    """Which server is to read them, as "Redis 8.0"."""
    return _redis_sh("version").strip()


def receive(data: Iterable[bytes]) -> None:
    """Take the data of a backup, if this server can read them; nothing is changed by that.

    Raises:
        CommandError: `make dev` runs, or the server cannot read them.
    """
    if running_dev():
        raise CommandError('"make dev" runs here: end it by Ctrl-C first.')
    DATA.mkdir(mode=0o700, parents=True, exist_ok=True)
    _redis_sh("receive", data)


def restore() -> str:
    """Put them in their place; where is what was there before."""
    return _redis_sh("restore").strip()


def call(*words: str) -> str:
    """Redis' answer to a command."""
    with _started() as url:
        return snapshot.call(url, *words)


def start() -> str:
    """The command that starts what uses them."""
    return "make dev"


def start_again() -> None:
    """Whoever runs `make dev` starts it."""


def _redis_sh(word: str, data: Iterable[bytes] = ()) -> str:
    return fed(["sh", str(ROOT / "entrypoints/redis.sh"), word], data, _environment())


def fed(command: list[str], data: Iterable[bytes], environment: dict[str, str]) -> str:
    """What a program prints that is given these data.

    Raises:
        CommandError: it fails; says why.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=out, stderr=errors)
        assert process.stdin
        with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
            for chunk in data:
                stdin.write(chunk)
        code = process.wait()
        printed, said = (_text(file) for file in (out, errors))
    if code:
        lines = (said.strip() or printed.strip()).splitlines() or ["it gives no reason"]
        raise CommandError(redis_data.problem(said) or lines[-1])
    return printed


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _environment(**more: str) -> dict[str, str]:
    server = embedded_redis.find_server()
    return {**os.environ, "REDIS_DIR": str(DATA), "REDIS_SERVER": server.program, "LOG_FORMAT": "", **more}


@contextlib.contextmanager
def _started() -> Iterator[str]:
    """The URL of a Redis of its own on the data."""
    port, password = embedded_redis.free_port(), read_env().get("REDIS_PASSWORD") or "denzel"
    environment = _environment(REDIS_BIND="127.0.0.1", REDIS_PORT=str(port), REDIS_PASSWORD=password)
    with tempfile.TemporaryDirectory(prefix="denzel-redis-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output:
            command = ["sh", str(ROOT / "entrypoints/redis.sh")]
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )

        def look() -> str | None:
            return None if process.poll() is not None or embedded_redis.answers(port, password) else ""

        try:
            if not wait_for(look, _PATIENCE, pauses=itertools.repeat(0.05)) or process.poll() is not None:
                said = log.read_text(errors="replace")[-2000:]
                raise CommandError(redis_data.problem(said) or f"Redis did not start:\n{said}")
            yield redis_url(port, password)
        finally:
            process.terminate()
            process.wait()
