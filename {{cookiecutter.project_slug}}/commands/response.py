"""``make response``: how /predict answers from now on, for every API process, without a restart."""

from __future__ import annotations

import subprocess

from commands.docker import compose_environment, compose_output, containers, require_created
from commands.project import (
    ROOT,
    CommandError,
    choice,
    parse_arguments,
    positive_number,
    read_env,
    running_dev,
    say,
)

_FAILED = "Failed to change response manner"


def run(arguments: list[str]) -> int:
    """Store the setting; when this returns, every later request sees it."""
    values = parse_arguments(arguments, {"MODE": "", "TIMEOUT": ""})
    if not values["MODE"]:
        raise CommandError("Must pass MODE=sync or MODE=async")
    mode = choice(values["MODE"], "MODE", ["sync", "async"])
    if mode == "async" and values["TIMEOUT"]:
        raise CommandError("TIMEOUT goes with MODE=sync only: an asynchronous answer does not wait.")
    timeout = str(_timeout(values["TIMEOUT"] or "5.0"))
    words = ["sync", timeout] if mode == "sync" else ["async"]
    done = _control(["response", *words])
    if done.returncode != 0:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise CommandError(f"{_FAILED}: {reason[-1] if reason else 'the service gives no reason'}")
    if mode == "sync":
        say(f"Response manner: synchronous, a request waits up to {timeout} seconds for its predictions.")
    else:
        say("Response manner: asynchronous, a request is answered at once with its task id.")
    return 0


def _timeout(value: str) -> float:
    try:
        return positive_number(value, "TIMEOUT")
    except CommandError:
        message = f"Sync timeout must be greater than 0: TIMEOUT is a number of seconds, not {value!r}"
        raise CommandError(message) from None


def _control(words: list[str]) -> subprocess.CompletedProcess[str]:
    """Run ``app.control`` where the service runs."""
    if not containers() and (dev := running_dev()):
        return subprocess.run(
            [ROOT / ".venv" / "bin" / "python", "-m", "app.control", *words],
            cwd=ROOT,
            env=compose_environment(**read_env() | {"REDIS_URL": dev["redis_url"]}),
            capture_output=True,
            text=True,
        )
    api = require_created().get("api", [])
    if not any(container.state == "running" for container in api):
        raise CommandError(f'{_FAILED}: the service api is not running. Start it: "make start"')
    return compose_output("exec", "--no-TTY", "api", "python", "-m", "app.control", *words)
