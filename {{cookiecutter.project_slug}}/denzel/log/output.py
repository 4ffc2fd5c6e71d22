"""What a process prints, and what it does not catch, becomes lines of its log: with the ids of whose task it is about.

As text the lines stay as they are, with the ids at their end; as JSON each becomes an object, also one that looks like
a line of the log already: what is printed may come from clients. The log's own lines go past this (`own_stream`).
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TextIO

from denzel.log import about
from denzel.log.forms import JsonForm, one_line, printable

# A line without an end is cut here (characters).
_LONGEST = 100_000


class Output:
    """In the place of sys.stdout or sys.stderr; whatever is not said here is the stream's own.

    Args:
        stream: where lines go.
        form: makes a line of the log of one that was printed (without its end).
        whole: nothing but whole lines may be written.
    """

    def __init__(self, stream: TextIO, form: Callable[[str], str], whole: bool) -> None:
        self.stream = stream
        self._form = form
        self._whole = whole
        self._begun = threading.local()  # the begin of a line; threads print without waiting for each other

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Print."""
        text = str(text)
        *lines, rest = (getattr(self._begun, "text", "") + text).split("\n")
        if lines:
            self.stream.write("".join(f"{self._form(line)}\n" for line in lines))
        if len(rest) > _LONGEST:
            self.stream.write(f"{self._form(rest)}\n")
            rest = ""
        self._begun.text = rest
        if lines:
            self.stream.flush()
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Print several."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write what is there of a line, where parts of lines may be written."""
        begun = getattr(self._begun, "text", "")
        if begun and not self._whole:
            self._begun.text = ""
            self.stream.write(begun)
        self.stream.flush()


def _as_text(line: str) -> str:
    return printable(line) + about.suffix(about.current()) if line.strip() else line


def adopt(form: JsonForm | None) -> None:
    """Let what this process prints, and what it does not catch, become lines of the log.

    Args:
        form: of lines of JSON; None: they are text.
    """
    for name, level in (("stdout", "INFO"), ("stderr", "WARNING")):
        stream = getattr(sys, name)
        if not isinstance(stream, Output):
            setattr(sys, name, Output(stream, _printed(form, f"print.{name}", level), form is not None))
    if form is not None:
        sys.excepthook = _uncaught
        threading.excepthook = lambda failed: _uncaught(failed.exc_type, failed.exc_value, failed.exc_traceback)


def _printed(form: JsonForm | None, name: str, level: str) -> Callable[[str], str]:
    if form is None:
        return _as_text

    def as_json(line: str) -> str:
        body = form.body(time.time(), level, name, os.getpid(), one_line(line.rstrip("\r")))
        return form.dumps(body | (about.ids(whose) if (whose := about.current()) else {}))

    return as_json


def _uncaught(kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
    if kind is None or issubclass(kind, SystemExit):
        return
    level = logging.INFO if issubclass(kind, KeyboardInterrupt) else logging.ERROR
    logging.getLogger("denzel").log(level, "Not caught: %s", kind.__name__, exc_info=(kind, error, trace))  # type: ignore[arg-type]


def own_stream(name: str) -> TextIO:
    """sys.stdout or sys.stderr as it was: lines of the log go there as they are."""
    stream = getattr(sys, name)
    return stream.stream if isinstance(stream, Output) else stream
