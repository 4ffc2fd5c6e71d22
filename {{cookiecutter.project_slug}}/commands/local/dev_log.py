"""The one log of a `make dev`."""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
from pathlib import Path

from commands.shared.project import MARKERS, ROOT
from commands.shared.screen import colour

LOG_FILE = MARKERS / "dev.log"
LOG_BYTES = 5_000_000  # then a new file is begun; one that is full is kept beside it
_MOST_WAITING = 2000  # lines that wait for stdout; what comes beyond is left out there
_COLOURS = {"redis": "red", "api": "cyan", "denzel": "green", "monitor": "magenta", "dev": "yellow"}


class Log:
    """The services' lines, prefixed by name: in a bounded file, and on stdout as fast as that takes them."""

    def __init__(self, path: Path, width: int) -> None:
        self._path, self._width = path, width
        self._file = path.open("wb")
        self._size = 0
        self._left_out = 0
        self._queue: queue.Queue[bytes | None] = queue.Queue(_MOST_WAITING)
        self._writer = threading.Thread(target=self._write_stdout, daemon=True)
        self._writer.start()

    def line(self, name: str, text: str) -> None:
        """Add a line of a service."""
        prefix = f"{name:{self._width}} | "
        self._keep(f"{prefix}{text}\n".encode())
        self._show(f"{colour(prefix, _COLOURS.get(name, 'blue'))}{text}\n".encode())

    def note(self, text: str) -> None:
        """Add lines of `make dev` itself."""
        for line in text.splitlines():
            self.line("dev", line)

    def close(self) -> None:
        """Write what waits for stdout, for as long as stdout takes it within half a second."""
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=0.5)
        self._writer.join(0.5)
        self._file.close()

    def _keep(self, line: bytes) -> None:
        if self._size + len(line) > LOG_BYTES:
            self._file.close()
            os.replace(self._path, f"{self._path}.1")
            self._file = self._path.open("wb")
            self._size = 0
        self._file.write(line)
        self._file.flush()
        self._size += len(line)

    def _show(self, line: bytes) -> None:
        try:
            if self._left_out:
                hint = f"... {self._left_out} lines left out, see {self._path.relative_to(ROOT)}\n"
                self._queue.put_nowait(hint.encode())
                self._left_out = 0
            self._queue.put_nowait(line)
        except queue.Full:
            self._left_out += 1

    def _write_stdout(self) -> None:
        """Write to the descriptor itself: nothing is buffered that Python would wait for when it exits."""
        stdout = sys.stdout.fileno()
        try:
            while (line := self._queue.get()) is not None:
                while line:
                    line = line[os.write(stdout, line) :]
        except OSError:  # the terminal or the reader of the pipe is gone
            while self._queue.get() is not None:
                pass
