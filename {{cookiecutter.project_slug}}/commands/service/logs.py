"""``make logs`` and ``make logworker``: what the services print, and the log file of the worker."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable

from commands.service.tail import follow
from commands.shared.arguments import choice, count, parse_arguments, switch
from commands.shared.docker import (
    NOT_CREATED,
    compose_command,
    compose_environment,
    containers,
    folder_elsewhere,
    require_docker,
    require_own,
    without_clearing,
)
from commands.shared.project import MARKERS, ROOT, CommandError
from commands.shared.running import running_dev
from commands.shared.stack import services

DEV_LOG = MARKERS / "dev.log"
LOGS = ROOT / "logs"

_ALL = "all"
_COLOUR_CODES = re.compile(r"\033\[[0-9;]*m")


def logs(arguments: list[str]) -> int:
    """Show what the services have printed, of one or of all; with LIVE=1 also what comes."""
    values = parse_arguments(arguments, {"SERVICE": _ALL, "LIVE": "0"})
    service = choice(values["SERVICE"], "SERVICE", [*sorted(services()), _ALL])
    live = switch(values["LIVE"], "LIVE")
    found = containers()
    if not found or folder_elsewhere(found):
        if running_dev():
            return _show(line for line in follow(DEV_LOG, live) if _is_from(line, service))
        require_own(found)
        require_docker()
        raise CommandError(NOT_CREATED)
    options = ["--follow"] if live else []
    return _show_compose_logs(*options, *([] if service == _ALL else [service]))


def logworker(arguments: list[str]) -> int:
    """Show a worker's log file; with LIVE=1 also what comes, over its rotations."""
    values = parse_arguments(arguments, {"WORKER": "1", "LIVE": "0"})
    live = switch(values["LIVE"], "LIVE")
    number = count(values["WORKER"], "WORKER")
    log = LOGS / ("worker.log" if number == 1 else f"worker-{number}.log")
    if not log.exists():
        raise CommandError("Worker log hasn't been created yet" if number == 1 else f"There is no {log.name} in logs/.")
    return _show(follow(log, live))


def _show_compose_logs(*words: str) -> int:
    command = compose_command("logs", *words)
    try:
        if sys.stdout.isatty():
            return subprocess.call(command, cwd=ROOT, env=compose_environment())
        with subprocess.Popen(
            command, cwd=ROOT, env=compose_environment(), stdout=subprocess.PIPE, text=True, errors="replace"
        ) as process:
            assert process.stdout is not None
            return _show(map(without_clearing, process.stdout)) or process.wait()
    except KeyboardInterrupt:
        return 0


def _is_from(line: str, service: str) -> bool:
    """Whether a line of ``make dev`` is from the service: each begins with its name."""
    return service == _ALL or _COLOUR_CODES.sub("", line).split(maxsplit=1)[:1] == [service]


def _show(lines: Iterable[str]) -> int:
    try:
        for line in lines:
            sys.stdout.write(line)
            sys.stdout.flush()
    except KeyboardInterrupt:
        pass
    return 0
