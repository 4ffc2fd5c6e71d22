"""``make repair``: the data of Redis are made readable again; what they were before stays in a folder beside them."""

from __future__ import annotations

import os
import subprocess

from commands.containers import stored
from commands.local import embedded_redis
from commands.local.dev_redis import DATA
from commands.shared.arguments import parse_arguments
from commands.shared.docker import compose, containers, require_own
from commands.shared.env import read_env
from commands.shared.project import NOT_ROOT, ROOT, CommandError
from commands.shared.running import running_dev
from commands.shared.screen import say

# What root needs of its capabilities in the container, to repair files of other users and to give them to Redis.
_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER")


def run(arguments: list[str]) -> int:
    """Repair the data of `make dev` and of the containers, whichever are there."""
    parse_arguments(arguments, {})
    if running_dev():
        raise CommandError('"make dev" runs here with its Redis: nothing is repaired under it. End it by Ctrl-C first.')
    found = [of_dev() for _ in [0] if DATA.is_dir()]
    if stored.exist():
        found.append(_of_containers())
    if not found:
        say("There are no data of Redis here: nothing to repair.")
    return max(found, default=0)


def of_dev(word: str = "repair", quiet: bool = False) -> int:
    """Let entrypoints/redis.sh repair, or check, the data of `make dev`; its exit code.

    Raises:
        CommandError: there is no server program; where `quiet`, also what the check says.
    """
    server = embedded_redis.installed_server()
    if server is None:
        raise CommandError("The data of Redis are repaired by its own program, and none is installed: make doctor")
    command = ["sh", str(ROOT / "entrypoints/redis.sh"), word]
    environment = {**os.environ, "REDIS_DIR": str(DATA), "REDIS_SERVER": server.program}
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=quiet, text=True)
    if quiet and done.returncode:
        raise CommandError(done.stderr.strip())
    return done.returncode


def _owner() -> str:
    """As whom Redis runs in its container."""
    env = read_env()
    return f"{env.get('DENZEL_UID') or NOT_ROOT}:{env.get('DENZEL_GID') or NOT_ROOT}"


def _of_containers() -> int:
    require_own(found := containers())
    own = found.get("redis", [])
    if any(container.state == "running" and container.health == "healthy" for container in own):
        say("Redis runs in its container: there is nothing to repair.")
        return 0
    if own and compose("stop", "redis") != 0:
        raise CommandError("The container of Redis could not be stopped: the lines above say why.")
    rights = [word for name in _CAPABILITIES for word in ("--cap-add", name)]
    options = ["--rm", "--no-deps", "--no-TTY", "--user", "root", *rights, "--env", f"REDIS_OWNER={_owner()}"]
    code = compose("run", *options, "redis", "repair")
    if code == 0:
        say('Start it again: "make start"')
    return int(code != 0)
