"""``make dead``, ``replay`` and ``redeliver``: the tasks that were given up; `denzel.control` for other commands."""

from __future__ import annotations

import subprocess

from commands.shared.arguments import parse_arguments
from commands.shared.docker import compose_environment, compose_output, containers, require_created
from commands.shared.env import read_env
from commands.shared.project import ROOT, CommandError
from commands.shared.running import running_dev
from commands.shared.screen import say


def dead(arguments: list[str]) -> int:
    """List the tasks that were given up, each with its request."""
    parse_arguments(arguments, {})
    return _tell("dead")


def replay(arguments: list[str]) -> int:
    """Queue a task again that was given up, or all of them."""
    task_id = parse_arguments(arguments, {"ID": ""})["ID"]
    if not task_id:
        raise CommandError('Must pass ID=... (or ID=all): "make dead" lists the tasks that were given up')
    return _tell("replay", task_id)


def redeliver(arguments: list[str]) -> int:
    """Send the callback of a task again."""
    task_id = parse_arguments(arguments, {"ID": ""})["ID"]
    if not task_id:
        raise CommandError("Must pass ID=...: the id of a task whose callback is to be sent again")
    return _tell("redeliver", task_id)


def _tell(*words: str) -> int:
    done = control(*words, services=("api", "denzel"))
    if done.returncode != 0:
        raise CommandError(last_line(done))
    say(done.stdout.rstrip("\n"))
    return 0


def control(*words: str, services: tuple[str, ...] = ("api",)) -> subprocess.CompletedProcess[str]:
    """Run ``denzel.control`` where the service runs: in the first of these containers that does, else under `make dev`.

    Raises:
        CommandError: nothing runs.
    """
    if not containers() and (dev := running_dev()):
        where = {"REDIS_URL": dev["redis_url"]}
        if dev["services"] == ["api"]:
            where["EXECUTOR"] = "inline"
        return subprocess.run(
            [ROOT / ".venv" / "bin" / "python", "-m", "denzel.control", *words],
            cwd=ROOT,
            env=compose_environment(**read_env() | where),
            capture_output=True,
            text=True,
        )
    found = require_created()
    for service in services:
        if any(container.state == "running" for container in found.get(service, [])):
            return compose_output("exec", "--no-TTY", service, "python", "-m", "denzel.control", *words)
    raise CommandError(f'The service {services[0]} is not running. Start it: "make start"')


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Why a command failed, in one line."""
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return lines[-1] if lines else "the service gives no reason"
