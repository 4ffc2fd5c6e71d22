"""What runs of the project, in containers or under ``make dev``, and the markers in `.denzel/` that tell of it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from commands.shared.env import read_env, write_private
from commands.shared.project import MARKERS, ROOT, CommandError
from commands.shared.stack import container_urls

DEV_FILE = MARKERS / "dev.json"
BUILDING_FILE = MARKERS / "building.json"


def running_dev() -> dict[str, Any] | None:
    """The ``make dev`` of this folder: pid, api_url, monitor_url, redis_url; None when none is running."""
    return read_marker(DEV_FILE)


def launched() -> bool:
    """Whether the containers of this folder have been created (running or stopped)."""
    name = read_env().get("COMPOSE_PROJECT_NAME", "")
    folder = '{{.Label "com.docker.compose.project.working_dir"}}'
    labels = ["--filter", f"label=com.docker.compose.project={name}", "--format", f"of {folder}"]
    command = ["docker", "ps", "--all", *labels]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    folders = [line[3:].strip() for line in done.stdout.splitlines()]
    return done.returncode == 0 and any(not is_elsewhere(folder) for folder in folders)


def is_elsewhere(folder: str) -> bool:
    """Whether containers with this label are those of another folder; one that has moved is the same."""
    return bool(folder) and Path(folder).exists() and not ROOT.samefile(folder)


def api_url() -> str:
    """The API's URL: of the launched containers, else of a running ``make dev``."""
    if launched():
        return container_urls()[0]
    if dev := running_dev():
        return dev["api_url"]
    raise CommandError('The project is not running: "make launch" (containers) or "make dev" (no Docker).')


def read_marker(path: Path) -> dict[str, Any] | None:
    """A marker in ``.denzel/`` whose process is alive; one that a killed process left behind is ignored."""
    try:
        marker = json.loads(path.read_text(encoding="utf-8"))
        pid = int(marker["pid"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return marker if _alive(pid) else None


def write_marker(path: Path, **values: Any) -> None:
    """Leave a marker of this process, readable at any moment as a whole."""
    path.parent.mkdir(exist_ok=True)
    write_private(path, json.dumps({"pid": os.getpid(), **values}))


def _alive(pid: int) -> bool:
    """Whether the process runs and is one of these commands, not a stranger that got its number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:
        return b"commands" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True
