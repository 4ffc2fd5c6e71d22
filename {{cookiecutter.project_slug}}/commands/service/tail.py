"""Reading a log file to its end, and on from there."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path


def follow(path: Path, live: bool, interval: float = 0.3) -> Iterator[str]:
    """Yield the file's lines; live, also those that come, from the new file once the log is rotated."""
    while True:
        with path.open(encoding="utf-8", errors="replace") as file:
            while True:
                start = file.tell()
                # asked before reading: what was written to the old file until then is still read from it
                rotated = live and _rotated(path, file.fileno(), start)
                line = file.readline()
                if line.endswith("\n") or (line and (rotated or not live)):
                    yield line
                elif rotated or not live:
                    break
                else:
                    file.seek(start)  # a line that is being written
                    time.sleep(interval)
        if not live:
            return


def _rotated(path: Path, descriptor: int, position: int) -> bool:
    """Whether the path leads to another file by now, or the file was cut short."""
    try:
        current = path.stat()
    except FileNotFoundError:
        return False  # between the two steps of a rotation
    return current.st_ino != os.fstat(descriptor).st_ino or current.st_size < position
