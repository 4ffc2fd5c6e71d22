"""What is told of an error of the user's code: to clients, in /status, in the log."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from denzel import jsonio

FILE = "app/logic/pipeline.py"
_APP = f"{Path(__file__).resolve().parents[2] / 'app'}/"

# Exceptions that are shown of those that led to one another.
_LONGEST_CHAIN = 5
_NO_TERMINAL = "needs a terminal, which a service has not"
_THEN = "From that came:"


class PipelineError(Exception):
    """`pipeline.py` itself cannot be used; the message says where and why."""


class BadAnswer(ValueError):
    """A stage returned something that cannot be used; the message names the stage and what was expected."""


class TaskCancelled(BaseException):
    """The task that runs was cancelled: raised in the middle of the user's code, which may tidy up and passes it on.

    No `Exception`, as those are often caught to go on.
    """


def place_of(error: BaseException) -> str:
    """The innermost line of the user's code that the error passed through."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if _is_users(frame):
            return f"{project_path(frame.filename)}, line {frame.lineno}"
    return FILE


def project_path(filename: str) -> str:
    """A file of the user by its path in the project, any other as it is."""
    if filename.startswith(_APP):
        return f"app/{filename.removeprefix(_APP)}"
    _, found, name = filename.rpartition("app/logic/")
    return found + name


def describe(error: BaseException) -> str:
    """`NameError: name 'np' is not defined`."""
    message = _says(error)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def traceback_of(error: BaseException) -> str:
    """An error as Python shows it, from the user's first line on; calls within libraries are folded into one line.

    What led to the user's code says nothing, and what a library does inside fills hundreds of lines. With
    LOG_LEVEL=debug nothing is folded.
    """
    shown = error.__cause__ if isinstance(error, PipelineError) and error.__cause__ else error
    chain = [shown]
    while (before := _before(chain[-1])) and before not in chain and len(chain) < _LONGEST_CHAIN:
        chain.append(before)
    chain = [one for one in chain if one is shown or describe(one) != describe(shown)]  # told in the same words inside
    return f"\n\n{_THEN}\n\n".join("".join(_shown(one)).rstrip() for one in reversed(chain))


def _before(error: BaseException) -> BaseException | None:
    """The exception that this one was raised from, or while it was handled."""
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _shown(error: BaseException) -> Iterator[str]:
    """The lines of one exception, without those that it came from."""
    found = traceback.TracebackException(type(error), error, error.__traceback__)
    frames = list(found.stack)
    while frames and not _is_users(frames[0]):
        frames.pop(0)
    if frames:
        yield "Traceback (most recent call last):\n"
    for is_users, group in groupby(frames, _is_users):
        calls = traceback.StackSummary.from_list(list(group))
        if is_users or len(calls) == 1 or logging.getLogger("denzel").isEnabledFor(logging.DEBUG):
            yield from calls.format()
        else:
            last = calls[-1]
            yield f"  ... {len(calls)} calls in {_package(last.filename)}, the last one in {last.name}\n"
            yield f'  File "{last.filename}", line {last.lineno}\n'
    yield from found.format_exception_only()


def _is_users(frame: traceback.FrameSummary) -> bool:
    return "app/logic/" in frame.filename or frame.filename.startswith(_APP)


def _package(filename: str) -> str:
    """The package that a file belongs to, as far as its path says."""
    _, found, rest = filename.replace("\\", "/").rpartition("-packages/")
    return rest.split("/")[0].removesuffix(".py") if found else "Python"


def message_of(error: BaseException) -> str:
    """The exception's message, or its type's name when it has none."""
    if (isinstance(error, SystemExit) and not isinstance(error.code, str)) or isinstance(error, KeyError):
        return describe(error)  # the 3 of exit(3), or the key, says nothing by itself
    return _says(error) or type(error).__name__


def _says(error: BaseException) -> str:
    """The exception's message; of one that comes from asking a terminal, what to do."""
    return _about_terminals(error) or text_of(str, error)


def _about_terminals(error: BaseException) -> str:
    """What to do where the user's code asks a terminal; empty for all other errors."""
    if type(error).__name__ == "BdbQuit":  # of pdb, ipdb and their like; by name: services need none of these
        return f"breakpoint() {_NO_TERMINAL}: take it out, or debug the function in a test (make test ARGS=--pdb)"
    if isinstance(error, EOFError) and text_of(str, error) == "EOF when reading a line":
        return f"input() {_NO_TERMINAL}: let the request or a variable in .env bring what it asks for"
    return ""


def result_of(error: BaseException) -> dict[str, Any]:
    """How /status shows a failure: `{"args": [...], "type": "NameError"}`, as Celery's JSON does."""
    arguments = []
    given = error.args if isinstance(error.args, tuple) else (error.args,)
    for argument in given or filter(None, [_about_terminals(error)]):
        try:
            jsonio.dumps({"args": [argument]})
        except BaseException:  # not only NotJSON: conversion runs the argument's own methods
            argument = text_of(repr, argument) or type(argument).__name__
        arguments.append(argument)
    return {"args": arguments, "type": type(error).__name__}


def text_of(convert: Callable[[Any], str], value: Any) -> str:
    """What `str` or `repr` makes of a value of the user, as Unicode; empty where the user's own method fails."""
    try:
        return convert(value).encode(errors="backslashreplace").decode()
    except BaseException:
        return ""
