"""The user's pipeline: found, checked, and run stage by stage through the same JSON borders everywhere.

The queue's workers, the inline executor and the tests of `pytest_denzel` all run pipelines through this module.
"""

from __future__ import annotations

import asyncio
from types import ModuleType
from typing import Any

from denzel import jsonio
from denzel.pipeline import declared
from denzel.pipeline.errors import BadAnswer, describe
from denzel.timings import Stopwatch

MOST_ANSWER_BYTES = 256_000_000  # Redis takes half a gigabyte at once


def verified(module: ModuleType, json_data: Any) -> Any:
    """What `verify_input` made of a request.

    Raises:
        NotAsDeclared: the request does not fit the schema that the project declares (`declared`).
        Exception: whatever `verify_input` raised: the request is bad.
        BadAnswer: `verify_input` returned nothing: the function is at fault, not the request.
    """
    declared.check(module, json_data)
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
        raise BadAnswer(f"verify_input returned a value that JSON cannot hold: {_advised(error)}") from None
    except Exception as error:  # of the value's own methods
        raise BadAnswer(f"verify_input returned a value that cannot be converted: {describe(error)}") from None


def predictions(module: ModuleType, model: Any, json_data: Any, watch: Stopwatch | None = None) -> Any:
    """What `process` and `predict` make of a verified request; raises whatever they raise.

    Args:
        watch: measures both.
    """
    watch = watch or Stopwatch()
    watch.start()
    try:
        data = module.process(model, json_data)
        if asyncio.iscoroutine(data):
            data.close()
            raise BadAnswer(f"process returned a coroutine: {jsonio.advice_on(data)}")
        watch.processed()
        return module.predict(model, data)
    finally:
        watch.stop()


def dumps_predictions(value: Any) -> bytes:
    """The answer of `predict` as JSON.

    Raises:
        BadAnswer: it is not a dictionary, JSON cannot hold it (the message names the path), or it is too large.
    """
    if not isinstance(value, dict):
        hint = ""
        if asyncio.iscoroutine(value):
            value.close()
            hint = f": {jsonio.advice_on(value)}"
        elif callable(getattr(value, "to_dict", None)):  # pandas, polars
            hint = ', for example {"rows": frame.to_dict("records")}'
        raise BadAnswer(f"predict must return a dictionary, not {type(value).__name__}{hint}")
    try:
        text = jsonio.dumps(value)
    except jsonio.NotJSON as error:
        raise BadAnswer(_advised(error)) from None
    if len(text) > MOST_ANSWER_BYTES:
        raise BadAnswer(f"predict returned {len(text)} bytes of JSON; an answer may have {MOST_ANSWER_BYTES} at most")
    return text


def _advised(error: jsonio.NotJSON) -> str:
    """What is wrong with a value, and what to do."""
    return f"{error}; {error.advice}" if error.advice else str(error)
