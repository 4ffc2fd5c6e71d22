"""The schemas that a project declares for its requests and answers, and the check of requests by them.

    app/assets/schema.json      {"request": <JSON Schema>, "response": <JSON Schema>}, either may be left out; or the
                                schema of the request alone
    hints of the functions      of verify_input's parameter and of predict's result (`hints`)

The file goes before the hints. A request that does not fit the schema declared for it is refused before `verify_input`
sees it. Where nothing is declared, nothing is checked and no validator is loaded.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

from denzel import jsonio
from denzel.pipeline import hints
from denzel.pipeline.errors import PipelineError

log = logging.getLogger("denzel.pipeline")

FILE = "app/assets/schema.json"
CALLBACK = "callback_uri"  # the service's own key, which no schema of the user's needs to know

_ROOT = Path(__file__).resolve().parents[2]
_MOST_NAMED = 3  # places at fault that one refusal names
_LONGEST = 200  # characters of what is said of each

Check = Callable[[Any], None]


class NotAsDeclared(ValueError):
    """A request does not fit the declared schema; the message says where, by JSON paths, and why."""


@dataclass(frozen=True)
class Declared:
    """The schemas that are declared; None: none is.

    Attributes:
        request, response: JSON Schemas.
    """

    request: dict[str, Any] | None = None
    response: dict[str, Any] | None = None


# Of the module that was asked for last: there is one in a process, until it is imported anew.
_known: tuple[ModuleType | None, Declared, Check | None] = (None, Declared(), None)


def of(module: ModuleType) -> Declared:
    """What is declared for a module of the user's.

    Raises:
        PipelineError: app/assets/schema.json, or the schema of a hint, cannot be used.
    """
    return (_known if _known[0] is module else _read(module))[1]


def check(module: ModuleType, json_data: Any) -> None:
    """Check a request, where a schema is declared for it.

    Raises:
        NotAsDeclared: it does not fit.
        PipelineError: as `of`.
    """
    known = _known if _known[0] is module else _read(module)
    if known[2] is not None:
        known[2](json_data)


def _read(module: ModuleType) -> tuple[ModuleType | None, Declared, Check | None]:
    global _known
    declared = _from_file() or Declared()
    request, response = declared.request, declared.response
    if request is None:
        request = _from_hint(hints.of_first_parameter, module, "verify_input")
    if response is None:
        response = _from_hint(hints.of_result, module, "predict")
    _known = module, Declared(request, response), None if request is None else _checker(request)
    return _known


def _from_file() -> Declared | None:
    try:
        content = json.loads((_ROOT / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise PipelineError(f"{FILE} cannot be read as JSON: {error}") from None
    if not isinstance(content, dict):
        raise PipelineError(f"{FILE} must be a JSON Schema, or an object of two: request, response")
    both = content if content and content.keys() <= {"request", "response"} else {"request": content}
    for name, schema in both.items():
        if not isinstance(schema, dict):
            raise PipelineError(f"{FILE}: {name} must be a JSON Schema, an object")
        _validator(schema, f"{FILE}: {name}")
    return Declared(**both)


def _from_hint(read: Callable[[Any], dict[str, Any] | None], module: ModuleType, name: str) -> dict[str, Any] | None:
    function = getattr(module, name, None)
    try:
        schema = read(function)
        if schema is not None:
            _validator(schema, f"the hint of {name}")
    except (hints.Unsupported, PipelineError) as error:
        log.warning("The hint of %s declares no schema: %s", name, error)
        return None
    return schema


def _validator(schema: dict[str, Any], place: str) -> Any:
    """What validates by a schema.

    Raises:
        PipelineError: it is no JSON Schema.
    """
    import jsonschema_rs

    try:
        return jsonschema_rs.validator_for(schema, validate_formats=True)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        where = jsonio.path_of(getattr(error, "instance_path", ()))
        why = getattr(error, "message", None) or str(error).partition("\n")[0]
        raise PipelineError(f"{place} is no JSON Schema: {where}: {why}") from None


def _checker(schema: dict[str, Any]) -> Check:
    validator = _validator(schema, "the declared schema")
    names_callback = CALLBACK in schema.get("properties", ())

    def check(json_data: Any) -> None:
        if not names_callback and isinstance(json_data, dict) and CALLBACK in json_data:
            json_data = {name: value for name, value in json_data.items() if name != CALLBACK}
        if validator.is_valid(json_data):
            return
        found = [_said(error) for error in islice(validator.iter_errors(json_data), _MOST_NAMED + 1)]
        more = ["..."] if len(found) > _MOST_NAMED else []
        raise NotAsDeclared("; ".join([*found[:_MOST_NAMED], *more]))

    return check


def _said(error: Any) -> str:
    message = error.message
    shown = message if len(message) <= _LONGEST else f"{message[: _LONGEST // 2]}...{message[-_LONGEST // 2 :]}"
    return f"{jsonio.path_of(error.instance_path)}: {shown}"
