"""The schemas that a project declares for its requests and answers, and the check of requests by them.

    app/assets/schema.json      {"request": <JSON Schema>, "response": <JSON Schema>}, either may be left out; or the
                                schema of the request alone
    hints of the functions      of verify_input's parameter and of predict's result (`hints`)

The file goes before the hints. A request that does not fit what is declared for it is refused before `verify_input`
sees it: by the file's schema, `format` included; by that of the hint, without formats, which hints do not mean; or,
where the hint has models of pydantic or msgspec, by these themselves (`models`). Where nothing is declared, nothing is
checked and no validator is loaded.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote

from denzel import jsonio
from denzel.pipeline import hints, models
from denzel.pipeline.errors import PipelineError

log = logging.getLogger("denzel.pipeline")

FILE = "app/assets/schema.json"
CALLBACK = "callback_uri"  # the service's own key, which no schema of the user's needs to know

_ROOT = Path(__file__).resolve().parents[2]
_MOST_NAMED = 3  # places at fault that one refusal names
_LONGEST = 200  # characters of what is said of each
_FIELDS = ("model_fields", "__dataclass_fields__", "__struct_fields__")  # where classes have the names of their fields

Check = Callable[[Any], None]


class NotAsDeclared(ValueError):
    """A request does not fit what is declared; the message says where, by JSON paths, and why."""


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
    """Check a request, where something is declared for it.

    Raises:
        NotAsDeclared: it does not fit.
        PipelineError: as `of`.
        Exception: whatever the code of a model raised.
    """
    known = _known if _known[0] is module else _read(module)
    if known[2] is not None:
        known[2](json_data)


def _read(module: ModuleType) -> tuple[ModuleType | None, Declared, Check | None]:
    global _known
    declared = _from_file() or Declared()
    request, response = declared.request, declared.response
    check = None if request is None else _checker(request, _by_schema(request, formats=True))
    if request is None:
        request = _from_hint(hints.of_first_parameter, module, "verify_input")
        check = None if request is None else _check_by_hint(hints.first_parameter(module.verify_input), request)
    if response is None:
        response = _from_hint(hints.of_result, module, "predict")
    _known = module, Declared(request, response), check
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


def _validator(schema: dict[str, Any], place: str, formats: bool = True) -> Any:
    """What validates by a schema.

    Raises:
        PipelineError: it is no JSON Schema.
    """
    import jsonschema_rs

    try:
        return jsonschema_rs.validator_for(schema, validate_formats=formats)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        where = jsonio.path_of(getattr(error, "instance_path", ()))
        why = getattr(error, "message", None) or str(error).partition("\n")[0]
        raise PipelineError(f"{place} is no JSON Schema: {where}: {why}") from None


def _check_by_hint(hint: Any, schema: dict[str, Any]) -> Check | None:
    """The check of a hint, whose schema with all models in it this is."""
    try:
        if judge := models.judge_of(hint):
            model = models.without_stand_ins(hint)
            names = chain.from_iterable(getattr(model, name, None) or () for name in _FIELDS)
            return _checker(schema, judge, names_callback=CALLBACK in names)
        return _checker(schema, _by_schema(schema, formats=False))
    except hints.Unsupported as error:
        log.warning("The hint of verify_input is checked without its models: %s", error)
        around = hints.declared(hint, models_open=True)
        return None if around is None else _checker(schema, _by_schema(around, formats=False))


def _by_schema(schema: dict[str, Any], formats: bool) -> models.Judge:
    validator = _validator(schema, "the declared schema", formats)

    def judge(json_data: Any) -> list[models.Fault]:
        if validator.is_valid(json_data):
            return []
        found = islice(validator.iter_errors(json_data), _MOST_NAMED + 1)
        return [(jsonio.path_of(error.instance_path), error.message) for error in found]

    return judge


def _checker(schema: dict[str, Any], judge: models.Judge, names_callback: bool = False) -> Check:
    names_callback = names_callback or _names_callback(schema, schema, set())

    def check(json_data: Any) -> None:
        if not names_callback and isinstance(json_data, dict) and CALLBACK in json_data:
            json_data = {name: value for name, value in json_data.items() if name != CALLBACK}
        if faults := judge(json_data):
            more = ["..."] if len(faults) > _MOST_NAMED else []
            raise NotAsDeclared("; ".join([*(_said(*fault) for fault in faults[:_MOST_NAMED]), *more]))

    return check


def _names_callback(schema: Any, root: dict[str, Any], seen: set[int]) -> bool:
    """Whether a schema, or one that it applies to the same value, has a property of the service's own key."""
    if not isinstance(schema, dict) or id(schema) in seen:
        return False
    seen.add(id(schema))
    inside = [one for keyword in ("allOf", "anyOf", "oneOf") for one in schema.get(keyword, ())]
    return CALLBACK in schema.get("properties", ()) or any(
        _names_callback(one, root, seen) for one in [*inside, _target(schema.get("$ref"), root)]
    )


def _target(reference: str | None, root: dict[str, Any]) -> Any:
    """What a reference by a JSON pointer leads to in the same schema; None for others."""
    base, _, pointer = (reference or "-").partition("#")
    if base not in ("", root.get("$id")) or not (pointer == "" or pointer.startswith("/")):
        return None
    found: Any = root
    for part in pointer.split("/")[1:]:
        key = unquote(part).replace("~1", "/").replace("~0", "~")
        if isinstance(found, list):
            found = found[int(key)] if key.isdecimal() and int(key) < len(found) else None
        else:
            found = found.get(key) if isinstance(found, dict) else None
    return found


def _said(path: str, message: str) -> str:
    shown = message if len(message) <= _LONGEST else f"{message[: _LONGEST // 2]}...{message[-_LONGEST // 2 :]}"
    return f"{path}: {shown}"
