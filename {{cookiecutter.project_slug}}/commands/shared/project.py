"""The project's folder, and how a command refuses."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What the commands leave in the folder for each other, and for themselves.
MARKERS = ROOT / ".denzel"


class CommandError(Exception):
    """A refusal or failure whose text, as it is, tells the user what to do."""
