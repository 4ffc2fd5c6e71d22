"""The data of Redis in containers, as a backup is made of them and put in their place."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator

from commands.containers.launch import announce, up
from commands.containers.permissions import prepare
from commands.containers.until_ready import wait_until_ready
from commands.local.stored import fed
from commands.shared import redis_data, snapshot
from commands.shared.docker import (
    compose,
    compose_command,
    compose_environment,
    compose_output,
    containers,
    docker,
    last_lines,
    require_docker,
    require_own,
)
from commands.shared.env import read_env
from commands.shared.project import REDIS_DATA, ROOT, CommandError
from commands.shared.running import api_url

NAME = "the containers"
_CLI = 'REDISCLI_AUTH="$REDIS_PASSWORD" exec redis-cli "$@"'
_RUN = ("run", "--rm", "--no-deps", "--no-TTY", "redis")


def exist() -> bool:
    """Whether there are any, or were before they lay in a folder."""
    name = read_env().get("COMPOSE_PROJECT_NAME", "")
    try:
        return (REDIS_DATA / name).is_dir() or docker("volume", "inspect", f"{name}_redis").returncode == 0
    except OSError:
        return False


def runs() -> bool:
    """Whether they are in use."""
    return any(container.state == "running" for container in containers().get("redis", []))


def chunks() -> Iterator[bytes]:
    """The data of one moment, of the Redis that runs or of one that runs for that."""
    require_docker()
    require_own(found := containers())
    ran = runs()
    _up()
    try:
        yield from _snapshot()
    finally:
        if not found:
            compose("down")
        elif not ran:
            compose("stop", "redis")


def server_version() -> str:
    """Which server is to read them, as "Redis 8.0"."""
    require_docker()
    require_own(containers())
    return fed(compose_command(*_RUN, "version"), (), compose_environment()).strip().splitlines()[-1]


def receive(data: Iterable[bytes]) -> None:
    """Take the data of a backup, if this server can read them; nothing is changed by that."""
    prepare()
    fed(compose_command(*_RUN, "receive"), data, compose_environment())


def restore() -> str:
    """Put them in their place; where is what was there before. What runs is stopped, the API first."""
    for services in (["api"], ["denzel"], []) if containers() else ():
        if compose("stop", *services) != 0:
            raise CommandError("The containers could not be stopped: the lines above say why. Nothing is changed.")
    return fed(compose_command(*_RUN, "restore"), (), compose_environment()).strip()


def call(*words: str) -> str:
    """Redis' answer to a command."""
    _up()
    done = compose_output("exec", "--no-TTY", "redis", "sh", "-c", _CLI, "sh", *words)
    if done.returncode != 0 or done.stdout.startswith("ERR"):
        raise CommandError(f"Redis refuses: {(done.stdout + done.stderr).strip()}")
    return done.stdout.strip()


def start() -> str:
    """The command that starts what uses them."""
    return "make start" if containers() else "make launch"


def start_again() -> None:
    """Start everything."""
    up()
    wait_until_ready(api_url())
    announce()


def _up() -> None:
    """Let Redis run, alone where nothing else does."""
    if compose("up", "--detach", "--no-build", "--no-deps", "--wait", "redis") != 0:
        raise CommandError(redis_data.problem(last_lines("redis")) or "Redis does not start: make logs SERVICE=redis")


def _snapshot() -> Iterator[bytes]:
    command = compose_command("exec", "--no-TTY", "redis", "sh", "-c", _CLI, "sh", "--rdb", "-")
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=compose_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        assert process.stdout
        stream = process.stdout
        try:
            # redis-cli passes on the mark behind the data, too, where it writes to no file
            yield from snapshot.until_mark(iter(lambda: stream.read(snapshot.CHUNK), b""))
        finally:
            stream.close()
            code = process.wait()
        errors.seek(0)
        said = errors.read().decode(errors="replace")
    if code or not re.search("until EOF marker", said):
        raise CommandError(f"Redis does not give its data: {said.strip()}")
