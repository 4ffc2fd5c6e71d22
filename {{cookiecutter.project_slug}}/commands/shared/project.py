"""The project's folder, and how a command refuses."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What the commands leave in the folder for each other, and for themselves.
MARKERS = ROOT / ".denzel"
# Where Redis in its container has its data: in it a folder for each name of the project.
REDIS_DATA = ROOT / "redis-data"
NOT_ROOT = 10001  # as whom containers run where the project's folder belongs to root


class CommandError(Exception):
    """A refusal or failure whose text, as it is, tells the user what to do."""
