"""The user's pipeline: found, checked, and run stage by stage through the same JSON borders everywhere.

The queue's workers, the inline executor and the tests of `pytest_denzel` all run pipelines through this module.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any

from denzel import jsonio

MODULE = "app.logic.pipeline"
FILE = "app/logic/pipeline.py"
MOST_ANSWER_BYTES = 256_000_000  # Redis takes half a gigabyte at once
FUNCTIONS = ("verify_input", "load_model", "process", "predict")


class PipelineError(Exception):
    """`pipeline.py` itself cannot be used; the message says where and why."""


class BadAnswer(ValueError):
    """A stage returned something that cannot be used; the message names the stage and what was expected."""


def import_pipeline() -> ModuleType:
    """Import the user's module anew, so that a corrected file is seen by the next try.

    Raises:
        PipelineError: it cannot be imported (with the line at fault), or one of the four functions is missing.
    """
    for name in [name for name in sys.modules if name == "app.logic" or name.startswith("app.logic.")]:
        del sys.modules[name]
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(MODULE)
    except SyntaxError as error:
        raise PipelineError(f"{_path(error.filename or FILE)}, line {error.lineno}: {error.msg}") from error
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise PipelineError(f"{_place(error)}: {describe(error)}") from error
    missing = [name for name in FUNCTIONS if not callable(getattr(module, name, None))]
    if missing:
        raise PipelineError(f"{FILE} must define {', '.join(FUNCTIONS)}; missing: {', '.join(missing)}")
    if not isinstance(getattr(module, "BATCHABLE", False), bool):
        raise PipelineError(f"{FILE}: BATCHABLE must be True or False, not {module.BATCHABLE!r:.40}")
    return module


def _place(error: BaseException) -> str:
    """The innermost line of the user's code that the error passed through."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if "app/logic/" in frame.filename:
            return f"{_path(frame.filename)}, line {frame.lineno}"
    return FILE


def _path(filename: str) -> str:
    """A file of the user by its path in the project, any other as it is."""
    _, found, name = filename.rpartition("app/logic/")
    return found + name


def describe(error: BaseException) -> str:
    """`NameError: name 'np' is not defined`."""
    message = _text(str, error)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def loading_problem(error: BaseException) -> str:
    """Why the model is not there: `load_model raised OSError: ... (app/logic/pipeline.py, line 20)`."""
    if isinstance(error, PipelineError):
        return str(error)
    return f"load_model raised {describe(error)} ({_place(error)})"


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
    return _text(str, error) or type(error).__name__


def result_of(error: BaseException) -> dict[str, Any]:
    """How /status shows a failure: `{"args": [...], "type": "NameError"}`, as Celery's JSON does."""
    arguments = []
    for argument in error.args if isinstance(error.args, tuple) else (error.args,):
        try:
            jsonio.dumps({"args": [argument]})
        except BaseException:  # not only NotJSON: conversion runs the argument's own methods
            argument = _text(repr, argument) or type(argument).__name__
        arguments.append(argument)
    return {"args": arguments, "type": type(error).__name__}


def _text(convert: Callable[[Any], str], value: Any) -> str:
    """What `str` or `repr` makes of a value of the user, as Unicode; empty where the user's own method fails."""
    try:
        return convert(value).encode(errors="backslashreplace").decode()
    except BaseException:
        return ""


def verified(module: ModuleType, json_data: Any) -> Any:
    """What `verify_input` made of a request.

    Raises:
        Exception: whatever `verify_input` raised: the request is bad.
        BadAnswer: `verify_input` returned nothing: the function is at fault, not the request.
    """
    value = module.verify_input(json_data)
    if value is None and json_data is not None:
        raise BadAnswer("verify_input returned None; end it with `return json_data`")
    return value


def verified_request(module: ModuleType, json_data: Any) -> tuple[bytes, Any]:
    """A request after `verify_input`, as JSON, and its `callback_uri`; raises what `verified` and `dumps_verified` do.

    Both in one call: `verify_input` may return an object that it changes for the next request.
    """
    value = verified(module, json_data)
    return dumps_verified(value), callback_uri(value)


def callback_uri(request: Any) -> Any:
    """Where a request wants its answer sent, None if nowhere."""
    return request.get("callback_uri") if isinstance(request, dict) else None


def dumps_verified(value: Any) -> bytes:
    """The verified request as JSON, as it travels to the worker.

    Raises:
        BadAnswer: it cannot be JSON; the message names the path.
        jsonio.TooDeep: it is nested too deep.
    """
    try:
        return jsonio.dumps(value)
    except jsonio.TooDeep:
        raise  # the request's fault as a rule
    except jsonio.NotJSON as error:
        raise BadAnswer(f"verify_input returned a value that JSON cannot hold: {error}") from None
    except Exception as error:  # of the value's own methods
        raise BadAnswer(f"verify_input returned a value that cannot be converted: {describe(error)}") from None


def predictions(module: ModuleType, model: Any, json_data: Any) -> Any:
    """What `process` and `predict` make of a verified request; raises whatever they raise."""
    return module.predict(model, module.process(model, json_data))


def dumps_predictions(value: Any) -> bytes:
    """The answer of `predict` as JSON.

    Raises:
        BadAnswer: it is not a dictionary, JSON cannot hold it (the message names the path), or it is too large.
    """
    if not isinstance(value, dict):
        raise BadAnswer(f"predict must return a dictionary, not {type(value).__name__}")
    try:
        text = jsonio.dumps(value)
    except jsonio.NotJSON as error:
        raise BadAnswer(str(error)) from None
    if len(text) > MOST_ANSWER_BYTES:
        raise BadAnswer(f"predict returned {len(text)} bytes of JSON; an answer may have {MOST_ANSWER_BYTES} at most")
    return text
