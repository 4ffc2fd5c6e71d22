"""Requests as the models of pydantic and msgspec in a hint judge them: by their own rules, more than a schema tells.

Neither package is imported unless a hint has a model of it. A request is handed over as JSON text: models of pydantic
may change the objects that they are given.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Annotated, Any, Union, get_args, get_origin

from denzel import jsonio
from denzel.pipeline import hints

Fault = tuple[str, str]  # the JSON path of what does not fit, and why
Judge = Callable[[Any], list[Fault]]  # of a request; it fits if there is no fault


def judge_of(hint: Any) -> Judge | None:
    """What judges requests by a hint; None where it has no models.

    Raises:
        Unsupported: it has models, whose package cannot judge the whole hint.
    """
    models = hints.models_in(hint)
    if not models:
        return None
    of_msgspec = {hasattr(model, "__struct_fields__") for model in models}
    if len(of_msgspec) == 2:
        raise hints.Unsupported("it has models of pydantic and of msgspec, which know nothing of each other")
    make = _by_msgspec if True in of_msgspec else _by_pydantic
    try:
        return make(without_stand_ins(hint))
    except Exception as error:  # of the models' own package
        why = str(error).partition("\n")[0]
        raise hints.Unsupported(f"its models cannot check it: {type(error).__name__}: {why}") from None


def without_stand_ins(hint: Any) -> Any:
    """A hint with Model where it says Annotated[dict, Model]."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        model = next((one for one in arguments[1:] if hints.is_model(one)), None)
        parts = (without_stand_ins(arguments[0]), *arguments[1:])
        return model or Annotated[parts]
    if origin in (Union, types.UnionType):
        return Union[tuple(map(without_stand_ins, arguments))]  # noqa: UP007
    if isinstance(origin, type) and hasattr(origin, "__class_getitem__") and arguments:
        return origin[tuple(map(without_stand_ins, arguments))]  # type: ignore[index]
    return hint


def _by_pydantic(hint: Any) -> Judge:
    from pydantic import TypeAdapter, ValidationError

    adapter = TypeAdapter(hint)

    def judge(json_data: Any) -> list[Fault]:
        text = jsonio.dumps(json_data, jsonio.DEEPER)
        try:
            adapter.validate_json(text)
            return []
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
        try:  # what takes Python's objects alone, or is nested deeper than pydantic's parser goes
            adapter.validate_python(jsonio.loads_dumped(text))
            return []
        except ValidationError as error:
            if found[0]["type"] == "json_invalid":
                found = error.errors(include_url=False, include_context=False, include_input=False)
        return [(_path(one["loc"], json_data, one["type"].startswith("missing")), one["msg"]) for one in found]

    return judge


def _path(location: tuple[Any, ...], value: Any, missing: bool) -> str:
    """The JSON path of pydantic's location, which also names types that were tried; `missing`: its end is not there."""
    keys = []
    for number, key in enumerate(location, 1):
        if (isinstance(value, dict) and key in value) or (
            isinstance(value, list) and isinstance(key, int) and key < len(value)
        ):
            value = value[key]
        elif not missing or number < len(location):
            continue
        keys.append(key)
    return jsonio.path_of(keys)


def _by_msgspec(hint: Any) -> Judge:
    import msgspec

    decoder = msgspec.json.Decoder(hint)

    def judge(json_data: Any) -> list[Fault]:
        try:
            decoder.decode(jsonio.dumps(json_data, jsonio.DEEPER))
        except msgspec.ValidationError as error:
            why, _, path = str(error).partition(" - at ")
            return [(path.replace("`", "") or "$", why)]
        return []

    return judge
