"""Docker Compose as the commands use it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from commands.shared.env import read_env, shell_environment
from commands.shared.limits import defaults
from commands.shared.project import ROOT, CommandError
from commands.shared.running import is_elsewhere, launched, running_dev

OLDEST_ENGINE = 25  # the first one that knows a health check's start_interval

NOT_CREATED = 'Haven\'t been created yet. Did you forget to run "make launch"?'
_WITHOUT_DOCKER = 'Without Docker, "make dev" runs the same services as plain processes.'


class NoDockerError(CommandError):
    """Docker is not installed, does not run, or may not be used."""


@dataclass(frozen=True)
class Container:
    """What is known of one of the project's containers."""

    id: str
    service: str
    state: str  # Docker's word: running, exited, restarting, created, paused, dead
    health: str = ""  # starting, healthy, unhealthy, or nothing where there is no health check
    folder: str = ""  # the project's folder that it was created from
    restarts: int = 0  # how often Docker started it again because it had ended by itself
    ports: frozenset[int] = field(default_factory=frozenset)  # ports of this machine that it holds now
    config: str = ""  # Compose's digest of the configuration that it was created from
    image: str = ""  # the id of the image that it was created from
    started: float = 0.0  # when it was started last (seconds since 1970)


def require_docker() -> None:
    """Make sure that Docker can be used.

    Raises:
        CommandError: says what is missing and what to do about it.
    """
    if shutil.which("docker") is None:
        raise NoDockerError(
            "Docker is not installed. Install Docker Engine with its Compose plugin: "
            f"https://docs.docker.com/engine/install/\n{_WITHOUT_DOCKER}"
        )
    version = _run(["docker", "version", "--format", "{{.Server.Version}}"])
    if version.returncode != 0:
        raise NoDockerError(_unusable(version.stderr.strip()))
    match = re.match(r"\d+", version.stdout.strip())
    if match and int(match[0]) < OLDEST_ENGINE:
        raise CommandError(f"Docker Engine {match[0]} is too old: upgrade it to {OLDEST_ENGINE} or newer.")
    if _run(["docker", "compose", "version"]).returncode != 0:
        raise CommandError(
            "Docker Compose v2 is missing (`docker compose version` fails). Install Docker's Compose plugin: "
            "https://docs.docker.com/compose/install/"
        )


def _unusable(error: str) -> str:
    """What to do when the Docker client cannot talk to its daemon."""
    reason = error.lower()
    if "permission denied" in reason:
        return (
            "You are not permitted to use Docker. Add yourself to its group, then log out and in again:\n"
            f"  sudo usermod -aG docker $USER\n{_WITHOUT_DOCKER}"
        )
    if any(text in reason for text in ("cannot connect", "no such host", "connection refused")):
        return (
            "Docker is not running. Start it with `sudo systemctl start docker` (or start Docker Desktop).\n"
            f"{_WITHOUT_DOCKER}"
        )
    return f"Docker cannot be used: {error or 'it gives no reason'}"


def require_created() -> dict[str, list[Container]]:
    """The project's containers; a refusal when they have not been created."""
    if running_dev() and not launched():
        raise CommandError(
            '"make dev" runs the services here, not containers: it takes up your edits by itself, '
            "and Ctrl-C in its terminal stops them."
        )
    require_docker()
    found = containers()
    if not found:
        raise CommandError(NOT_CREATED)
    require_own(found)
    return found


def require_own(found: dict[str, list[Container]]) -> None:
    """Refuse containers of another folder with the same project name; a folder that has moved is the same."""
    if folder := folder_elsewhere(found):
        raise CommandError(
            f"The folder {folder} has launched a project of the same name. "
            "Give one of them another COMPOSE_PROJECT_NAME in its .env."
        )


def folder_elsewhere(found: dict[str, list[Container]]) -> str:
    """The other folder that containers of this name were launched from; empty where they are this folder's."""
    folders = {container.folder for several in found.values() for container in several}
    return next(filter(is_elsewhere, sorted(folders)), "")


def containers() -> dict[str, list[Container]]:
    """The project's containers by service, whatever their state; none when Docker cannot be used."""
    name = read_env().get("COMPOSE_PROJECT_NAME", "")
    labels = [f"com.docker.compose.project={name}", "com.docker.compose.oneoff=False"]
    filters = [word for label in labels for word in ("--filter", f"label={label}")]
    try:
        listed = _run(["docker", "ps", "--all", "--quiet", "--no-trunc", *filters])
        if listed.returncode != 0 or not listed.stdout.split():
            return {}
        # one that is removed at this moment makes the exit code 1; the others are told all the same
        inspected = _run(["docker", "inspect", "--type", "container", *listed.stdout.split()])
    except OSError:
        return {}
    found: dict[str, list[Container]] = {}
    for document in json.loads(inspected.stdout or "[]"):
        container = _container(document)
        found.setdefault(container.service, []).append(container)
    return found


def _container(document: dict[str, Any]) -> Container:
    state = document["State"]
    labels = document["Config"]["Labels"]
    bindings = document.get("NetworkSettings", {}).get("Ports") or {}
    return Container(
        id=document["Id"],
        service=labels.get("com.docker.compose.service", ""),
        state=state["Status"],
        health=(state.get("Health") or {}).get("Status", ""),
        folder=labels.get("com.docker.compose.project.working_dir", ""),
        restarts=document.get("RestartCount", 0),
        ports=frozenset(int(port["HostPort"]) for ports in bindings.values() for port in ports or []),
        config=labels.get("com.docker.compose.config-hash", ""),
        image=labels.get("com.docker.compose.image", ""),
        started=_seconds(state.get("StartedAt", "")),
    )


def _seconds(moment: str) -> float:
    """Docker's ``2026-01-31T12:30:00.123456789Z`` as seconds since 1970, 0 where it tells none."""
    whole, _, fraction = moment.rstrip("Z").partition(".")
    try:
        return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or 0}")
    except ValueError:
        return 0.0


def compose(*arguments: str) -> int:
    """Run ``docker compose``, its output where ours goes; the exit code.

    Its progress is for eyes: without a terminal only its errors are printed.
    """
    sys.stdout.flush()
    return subprocess.call(compose_command(*arguments), cwd=ROOT, env=compose_environment())


def compose_output(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run ``docker compose`` and keep what it prints."""
    return _run(compose_command(*arguments), env=compose_environment(), stdin=stdin)


def compose_command(*arguments: str) -> list[str]:
    """The words of a ``docker compose`` call, without control codes where they would not go to a terminal."""
    progress = [] if sys.stderr.isatty() else ["--progress", "quiet"]
    ansi = [] if sys.stdout.isatty() else ["--ansi", "never"]
    return ["docker", "compose", *progress, *ansi, *arguments]


def compose_environment(**overrides: str) -> dict[str, str]:
    """The shell's environment without our settings, over which Compose would let the shell's values win; but for the
    limits that `.env` leaves to the machine."""
    return shell_environment() | defaults() | overrides


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``docker`` and keep what it prints."""
    return _run(["docker", *arguments])


def last_lines(service: str, count: int = 15) -> str:
    """The end of what a service has printed."""
    done = compose_output("logs", "--no-log-prefix", "--no-color", "--tail", str(count), service)
    return without_clearing(done.stdout or done.stderr).rstrip()


def without_clearing(text: str) -> str:
    """Log lines without the code by which Compose clears a terminal's line before each, terminal or not."""
    return text.replace("\033[2K", "")


def _run(command: list[str], env: dict[str, str] | None = None, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, env=env, input=stdin, capture_output=True, text=True, errors="replace")
