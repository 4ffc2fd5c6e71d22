"""What the commands print."""

from __future__ import annotations

import os
import sys
from typing import Any

_COLOURS = {"red": 31, "green": 32, "yellow": 33, "blue": 34, "magenta": 35, "cyan": 36, "grey": 90}


def say(text: str = "") -> None:
    """Print a line at once, also when stdout is a pipe."""
    print(text, flush=True)


def warn(text: str) -> None:
    """Print a line on stderr, after everything said so far."""
    sys.stdout.flush()
    print(colour(text, "yellow", sys.stderr), file=sys.stderr, flush=True)


def colour(text: str, name: str, stream: Any = None) -> str:
    """The text in a colour where it goes to a terminal and NO_COLOR is not set, else as it is."""
    stream = sys.stdout if stream is None else stream
    if os.environ.get("NO_COLOR") or not stream.isatty():
        return text
    return f"\033[{_COLOURS[name]}m{text}\033[0m"
