"""What each process does first about its log."""

from __future__ import annotations

import logging
import os
import secrets
from typing import TextIO

from denzel.log import output
from denzel.log.forms import TEXT, JsonForm, TextForm
from denzel.log.repeats import Repeats
from denzel.settings import Settings

# With the process's id, where several processes write into one log.
WITH_PROCESS = "%(asctime)s %(levelname)s %(name)s[%(process)d]: %(message)s"


# In the environment of a process whose output another one forwards: what its lines of JSON begin with, so that nothing
# that is printed can pass for one of them.
MARK_VARIABLE = "DENZEL_LOG_MARK"


def new_mark() -> str:
    """One that nobody can guess."""
    return secrets.token_hex(16)


def form(settings: Settings, service: str, text: str = TEXT, mark: str = "") -> logging.Formatter:
    """How lines look."""
    return JsonForm(service, mark) if settings.log_format == "json" else TextForm(text)


def configure(settings: Settings, service: str, stream: str = "stderr", text: str = TEXT, printed: bool = True) -> None:
    """Let this process log.

    Args:
        service: what it belongs to, for lines of JSON.
        stream: where to, stdout or stderr; what is printed to either goes where it did.
        text: the form of lines of text.
        printed: what is printed becomes lines of the log, too; the process must be the service's own.
    """
    mark = os.environ.pop(MARK_VARIABLE, "")  # user code, and what it starts, shall not have it
    root = logging.getLogger()
    if not root.handlers:  # a test may have its own
        made = handler(output.own_stream(stream), form(settings, service, text, mark))
        made.addFilter(Repeats(settings.log_repeats))
        root.addHandler(made)
        root.setLevel(settings.log_level.upper())
        if printed:
            output.adopt(JsonForm(service, mark) if settings.log_format == "json" else None)
    if printed and settings.log_format == "json":
        logging.captureWarnings(True)


def handler(stream: TextIO, form: logging.Formatter) -> logging.Handler:
    """Writes lines."""
    made = logging.StreamHandler(stream)
    made.setFormatter(form)
    return made
