"""The log of the denzel container: to stdout for `make logs`, and to a file rotated by size for `make logworker`."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import sys
from pathlib import Path
from typing import Any

from denzel.log.configure import form, new_mark
from denzel.log.forms import JsonForm, is_json_line, printable
from denzel.log.repeats import Repeats
from denzel.settings import Settings

log = logging.getLogger("denzel.supervisor")

# What lines of the processes of this container begin with, as JSON.
MARK = new_mark()


def configure_logging(settings: Settings) -> None:
    """To stdout, for `make logs`."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Forwarded(form(settings, "denzel")))
    handler.addFilter(Repeats(settings.log_repeats))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler])
    logging.getLogger("denzel.output").setLevel(logging.INFO)


def log_to_file(settings: Settings, name: str) -> None:
    """To a file rotated by size too, for `make logworker`: worker.log, and for further nodes worker-2.log and so on."""
    path = Path(settings.log_file)
    path = path.with_stem(path.stem + name.partition("@")[0].removeprefix("worker"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = _OwnFile(path, maxBytes=settings.log_max_bytes, backupCount=settings.log_backups, encoding="utf-8")
    except OSError as error:
        log.warning("%s cannot be written (%s); the log goes to stdout only", path, error)
        return
    handler.setFormatter(_Forwarded(form(settings, "denzel")))
    handler.addFilter(Repeats(settings.log_repeats))
    logging.getLogger().addHandler(handler)


class _OwnFile(logging.handlers.RotatingFileHandler):
    """Files that others cannot read: what clients sent may be in them."""

    def _open(self) -> Any:
        opened = super()._open()
        with contextlib.suppress(OSError):  # it belongs to somebody else
            os.fchmod(opened.fileno(), 0o640)
        return opened


class _Forwarded(logging.Formatter):
    """The processes' own lines as they are, the supervisor's in the form of the log.

    Of JSON nothing else may be written: a line without the mark, as libraries write it past Python, becomes an object
    with that line as its message, whatever it looks like.
    """

    def __init__(self, form: logging.Formatter) -> None:
        super().__init__()
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        if record.name == "denzel.output":
            line = record.getMessage()
            if not isinstance(self._form, JsonForm):
                return printable(line)
            before, found, own = line.partition(MARK)
            if found and is_json_line(own):
                return f"{self._wrapped(record, before)}\n{own}" if before else own
            return self._wrapped(record, line.replace(MARK, ""))
        return self._form.format(record)

    def _wrapped(self, record: logging.LogRecord, line: str) -> str:
        return self._form.format(logging.makeLogRecord({**record.__dict__, "msg": line, "args": None}))
