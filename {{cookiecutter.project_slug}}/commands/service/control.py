"""``make response``, ``dead``, ``replay``, ``redeliver``, ``ingest``: what `denzel.control` does in the service."""

from __future__ import annotations

import subprocess

from commands.shared.arguments import choice, parse_arguments, positive_number
from commands.shared.docker import compose_output, require_created
from commands.shared.env import project_name, read_env, shell_environment
from commands.shared.project import ROOT, CommandError
from commands.shared.running import launched, running_dev
from commands.shared.screen import say


def response(arguments: list[str]) -> int:
    """Set how /predict answers from now on, for every API process; when this returns, every later request sees it."""
    values = parse_arguments(arguments, {"MODE": "", "TIMEOUT": ""})
    if not values["MODE"]:
        raise CommandError("Must pass MODE=sync or MODE=async")
    mode = choice(values["MODE"], "MODE", ["sync", "async"])
    if mode == "async" and values["TIMEOUT"]:
        raise CommandError("TIMEOUT goes with MODE=sync only: an asynchronous answer does not wait.")
    timeout = str(_seconds(values["TIMEOUT"] or "5.0"))
    words = ["sync", timeout] if mode == "sync" else ["async"]
    done = _control("response", *words)
    if done.returncode != 0:
        raise CommandError(f"Failed to change response manner: {_last_line(done)}")
    if mode == "sync":
        say(f"Response manner: synchronous, a request waits up to {timeout} seconds for its predictions.")
    else:
        say("Response manner: asynchronous, a request is answered at once with its task id.")
    return 0


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


def ingest(arguments: list[str]) -> int:
    """Queue the ingesting of app/training.py as a task of the service."""
    parse_arguments(arguments, {})
    return _tell("ingest", services=("denzel", "api"))


def _seconds(value: str) -> float:
    try:
        return positive_number(value, "TIMEOUT")
    except CommandError:
        message = f"Sync timeout must be greater than 0: TIMEOUT is a number of seconds, not {value!r}"
        raise CommandError(message) from None


def _tell(*words: str, services: tuple[str, ...] = ("api", "denzel")) -> int:
    done = _control(*words, services=services)
    if done.returncode != 0:
        raise CommandError(_last_line(done))
    say(done.stdout.rstrip("\n"))
    return 0


def _control(*words: str, services: tuple[str, ...] = ("api",)) -> subprocess.CompletedProcess[str]:
    """Run ``denzel.control`` where the service runs: in the first of these containers that does, else under `make dev`.

    Raises:
        CommandError: nothing runs.
    """
    if not launched() and (dev := running_dev()):
        where = {"REDIS_URL": dev["redis_url"], "PROJECT_SLUG": project_name(read_env())}
        if dev["services"] == ["api"]:
            where["EXECUTOR"] = "inline"
        return subprocess.run(
            [ROOT / ".venv" / "bin" / "python", "-m", "denzel.control", *words],
            cwd=ROOT,
            env=shell_environment() | read_env() | where,
            capture_output=True,
            text=True,
        )
    found = require_created()
    for service in services:
        if any(container.state == "running" for container in found.get(service, [])):
            return compose_output("exec", "--no-TTY", service, "python", "-m", "denzel.control", *words)
    raise CommandError(f'The service {services[0]} is not running. Start it: "make start"')


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Why a command failed, in one line."""
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return lines[-1] if lines else "the service gives no reason"
