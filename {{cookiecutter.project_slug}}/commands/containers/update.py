"""``make updatepipreqs``, ``updateosreqs`` and ``updatereqs``: requirements as layers of the image."""

from __future__ import annotations

from datetime import datetime, timezone

from commands.containers import checks, permissions
from commands.containers.build import build
from commands.containers.launch import announce, up
from commands.containers.lifecycle import prune
from commands.containers.until_ready import wait_until_ready
from commands.shared.arguments import parse_arguments
from commands.shared.docker import require_created
from commands.shared.env import update_env
from commands.shared.running import api_url


def updatepipreqs(arguments: list[str]) -> int:
    """Install the packages of requirements.txt, each upgraded as far as it allows."""
    return _update(arguments, "PIP_UPDATED")


def updateosreqs(arguments: list[str]) -> int:
    """Run the commands of requirements.sh again."""
    return _update(arguments, "OS_UPDATED")


def updatereqs(arguments: list[str]) -> int:
    """Both, with one replacement of the containers."""
    return _update(arguments, "OS_UPDATED", "PIP_UPDATED")


def _update(arguments: list[str], *layers: str) -> int:
    """Rebuild the image from these layers on and replace the containers; a failed build changes nothing."""
    parse_arguments(arguments, {})
    require_created()
    permissions.prepare()
    checks.before_start()
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    stamps = dict.fromkeys(layers, now)
    build(**stamps)
    update_env(**stamps)
    up()
    prune()
    wait_until_ready(api_url())
    announce()
    return 0
