"""What is told of an error of the user's code: to clients, in /status, in the log."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from denzel import jsonio

FILE = "app/logic/pipeline.py"


class PipelineError(Exception):
    """`pipeline.py` itself cannot be used; the message says where and why."""


class BadAnswer(ValueError):
    """A stage returned something that cannot be used; the message names the stage and what was expected."""


def place_of(error: BaseException) -> str:
    """The innermost line of the user's code that the error passed through."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if "app/logic/" in frame.filename:
            return f"{project_path(frame.filename)}, line {frame.lineno}"
    return FILE


def project_path(filename: str) -> str:
    """A file of the user by its path in the project, any other as it is."""
    _, found, name = filename.rpartition("app/logic/")
    return found + name


def describe(error: BaseException) -> str:
    """`NameError: name 'np' is not defined`."""
    message = text_of(str, error)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def traceback_of(error: BaseException) -> str:
    """An error as Python shows it, from the user's first line on: how it was called from here helps nobody."""
    shown = error.__cause__ if isinstance(error, PipelineError) and error.__cause__ else error
    frames = shown.__traceback__
    while frames and "app/logic/" not in frames.tb_frame.f_code.co_filename:
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(shown), shown, frames)).rstrip()


def message_of(error: BaseException) -> str:
    """The exception's message, or its type's name when it has none."""
    if (isinstance(error, SystemExit) and not isinstance(error.code, str)) or isinstance(error, KeyError):
        return describe(error)  # the 3 of exit(3), or the key, says nothing by itself
    return text_of(str, error) or type(error).__name__


def result_of(error: BaseException) -> dict[str, Any]:
    """How /status shows a failure: `{"args": [...], "type": "NameError"}`, as Celery's JSON does."""
    arguments = []
    for argument in error.args if isinstance(error.args, tuple) else (error.args,):
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
