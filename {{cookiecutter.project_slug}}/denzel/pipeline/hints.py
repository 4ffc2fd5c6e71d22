"""JSON Schemas of Python's type hints: TypedDict, dataclasses, and the models of pydantic and msgspec.

None of these packages is needed: a model makes its schema itself, and exists only where its package is installed. What
a hint does not say, or says in a type that this module does not know, is left open. A model may accept more than its
schema tells (`"3"` for an integer, other names of a field), and a `format` is a note for readers: so schemas with
models describe, while the models judge (`models`), and what is checked by a schema is checked without formats.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import types
import typing
from datetime import date, datetime, time
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from denzel import jsonio

Schema = dict[str, Any]

_SCALARS: dict[Any, Schema] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    type(None): {"type": "null"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
    time: {"type": "string", "format": "time"},
    UUID: {"type": "string", "format": "uuid"},
}
_LISTS = (list, set, frozenset, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
_MAPS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
# What `Annotated` says of a value, by the name that annotated-types, msgspec and pydantic give it.
_LIMITS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
    "pattern": "pattern",
    "title": "title",
    "description": "description",
}
_LENGTHS = {"min_length": ("minLength", "minItems"), "max_length": ("maxLength", "maxItems")}
# Names of typing that wrap a hint, by the text of them: Python 3.10 has none of these.
_WRAPPERS = ("Required", "NotRequired", "ReadOnly", "Final")


class Unsupported(TypeError):
    """A hint that no schema can be made of; the message says why."""


def of_first_parameter(function: Any) -> Schema | None:
    """The schema that the hint of a function's first parameter declares; None where it declares none.

    Raises:
        Unsupported: the hint cannot be read.
    """
    return declared(first_parameter(function))


def first_parameter(function: Any) -> Any:
    """The hint of a function's first parameter; `Any` where it has none.

    Raises:
        Unsupported: the hint cannot be read.
    """
    hints = _hints(function)
    names = [name for name in hints if name != "return"]
    code = getattr(function, "__code__", None)
    first = code.co_varnames[0] if code and code.co_argcount else (names[0] if names else "")
    return hints.get(first, Any)


def of_result(function: Any) -> Schema | None:
    """The schema that the hint of a function's result declares; None where it declares none.

    Raises:
        Unsupported: the hint cannot be read.
    """
    hints = _hints(function)
    return declared(hints["return"]) if "return" in hints else None


def declared(hint: Any, models_open: bool = False) -> Schema | None:
    """The schema of a hint; None where it says no more than of which kind the value is, as `dict` does.

    Args:
        models_open: take anything for a model of pydantic or msgspec.

    Raises:
        Unsupported: two models of different content have the same name, or a model makes no schema.
    """
    definitions: dict[str, Schema] = {}
    schema = _Converter(definitions, models_open).convert(hint)
    if not _tells(schema):
        return None
    return {**schema, "$defs": definitions} if definitions else schema


def models_in(hint: Any) -> list[type]:
    """The models of pydantic and msgspec that a hint names, also in fields of dataclasses and TypedDicts.

    Raises:
        Unsupported: a hint inside it cannot be read.
    """
    converter = _Converter({}, models_open=True)
    converter.convert(hint)
    return converter.models


def _hints(function: Any) -> dict[str, Any]:
    if not getattr(function, "__annotations__", None):
        return {}
    try:
        return get_type_hints(function, include_extras=True)
    except Exception as error:  # names that are not there, or whatever an annotation does
        raise Unsupported(f"its hints cannot be read: {type(error).__name__}: {error}") from None


def _tells(schema: Schema) -> bool:
    if not schema.keys() <= {"type", "anyOf", "title", "description"}:
        return True
    return any(map(_tells, schema.get("anyOf", ())))


class _Converter:
    """Collects the schemas of named types in `definitions`, so that a type may contain itself."""

    def __init__(self, definitions: dict[str, Schema], models_open: bool = False) -> None:
        self.models: list[type] = []  # that were met
        self._definitions = definitions
        self._models_open = models_open
        self._names: dict[Any, str] = {}

    def convert(self, hint: Any) -> Schema:
        origin, arguments = get_origin(hint), get_args(hint)
        if origin is Annotated:
            return self._annotated(arguments[0], arguments[1:])
        if getattr(origin, "__name__", getattr(origin, "_name", None)) in _WRAPPERS:
            return self.convert(arguments[0])
        if origin in (Union, types.UnionType):
            return _any_of([self.convert(one) for one in arguments])
        if origin is Literal:
            return {"enum": [_plain(value) for value in arguments]}
        if supertype := getattr(hint, "__supertype__", None):  # NewType
            return self.convert(supertype)
        if type(hint).__name__ == "TypeAliasType":  # `type X = ...`
            return self.convert(hint.__value__)
        if hint in (None, type(None)):
            return {"type": "null"}
        if isinstance(hint, type) and origin is None:
            return self._of_class(hint)
        return self._of_container(origin, arguments)

    def _of_class(self, hint: type) -> Schema:
        for scalar, schema in _SCALARS.items():
            if hint is scalar:
                return dict(schema)
        if issubclass(hint, enum.Enum):
            return {"enum": [_plain(one.value) for one in hint]}
        if is_model(hint):
            self.models.append(hint)
            return {} if self._models_open else self._named(hint, lambda: self._of_model(hint))
        if hasattr(hint, "__required_keys__"):  # a TypedDict
            return self._named(hint, lambda: self._of_fields(hint, hint.__required_keys__))
        if dataclasses.is_dataclass(hint):
            return self._named(hint, lambda: self._of_fields(hint, _without_default(hint)))
        return self._of_container(hint, ())

    def _of_container(self, origin: Any, arguments: tuple[Any, ...]) -> Schema:
        if origin in _MAPS:
            values = self.convert(arguments[1]) if len(arguments) == 2 else {}
            return {"type": "object", **({"additionalProperties": values} if values else {})}
        if origin is tuple and arguments and arguments[-1] is not Ellipsis:
            parts = [self.convert(one) for one in arguments]
            return {"type": "array", "prefixItems": parts, "minItems": len(parts), "maxItems": len(parts)}
        if origin in _LISTS or origin is tuple:
            each = self.convert(arguments[0]) if arguments else {}
            return {"type": "array", **({"items": each} if each else {})}
        return {}

    def _annotated(self, hint: Any, extras: tuple[Any, ...]) -> Schema:
        if model := next((one for one in extras if is_model(one)), None):  # Annotated[dict, Model]
            return self.convert(model)
        schema = self.convert(hint)
        for extra in extras:
            if isinstance(extra, str):
                schema = {**schema, "description": extra}
                continue
            for one in [extra, *getattr(extra, "metadata", ())]:  # pydantic's Field holds those of annotated-types
                schema = {**schema, **_limits(one, schema.get("type"))}
        return schema

    def _of_fields(self, hint: type, required: typing.Iterable[str]) -> Schema:
        properties = {name: self.convert(one) for name, one in _hints(hint).items()}
        needed = [name for name in properties if name in set(required)]
        return {"type": "object", "properties": properties, **({"required": needed} if needed else {})}

    def _of_model(self, hint: Any) -> Schema:
        try:
            schema = _model_schema(hint)
        except Exception as error:  # of the model's own package
            raise Unsupported(f"{hint.__name__} makes no schema: {type(error).__name__}: {error}") from None
        for name, definition in schema.pop("$defs", {}).items():
            if self._definitions.setdefault(name, definition) != definition:
                raise Unsupported(f"two models are called {name}")
        return schema

    def _named(self, hint: type, make: typing.Callable[[], Schema]) -> Schema:
        """A reference to the schema of a class, which is made at its first use."""
        if hint not in self._names:
            name = hint.__name__
            while name in self._definitions or name in self._names.values():
                name += "_"
            self._names[hint] = name
            made = make()
            if made != {"$ref": f"#/$defs/{name}"}:  # as a model says of itself that contains itself
                self._definitions[name] = made
        return {"$ref": f"#/$defs/{self._names[hint]}"}


def is_model(hint: Any) -> bool:
    """Whether a class is a model of pydantic (a dataclass of it, too) or msgspec, which makes its schema itself."""
    return isinstance(hint, type) and any(
        hasattr(hint, name) for name in ("model_json_schema", "__pydantic_validator__", "__struct_fields__")
    )


def _model_schema(hint: Any) -> Schema:
    if hasattr(hint, "__struct_fields__"):
        import msgspec

        schema = dict(msgspec.json.schema(hint))
        own = schema.get("$ref", "").rpartition("/")[2]
        if own and not _mentions(schema["$defs"], schema["$ref"]):
            definitions = schema["$defs"]
            return {**definitions.pop(own), "$defs": definitions}
        return schema
    if hasattr(hint, "model_json_schema"):
        return hint.model_json_schema()
    from pydantic import TypeAdapter

    return TypeAdapter(hint).json_schema()


def _mentions(value: Any, reference: str) -> bool:
    if isinstance(value, dict):
        return value.get("$ref") == reference or any(_mentions(one, reference) for one in value.values())
    return isinstance(value, list) and any(_mentions(one, reference) for one in value)


def _without_default(hint: Any) -> set[str]:
    missing = dataclasses.MISSING
    return {one.name for one in dataclasses.fields(hint) if one.default is missing and one.default_factory is missing}


def _any_of(schemas: list[Schema]) -> Schema:
    """One that takes what any of them takes; {} where one takes everything."""
    return {} if {} in schemas else {"anyOf": schemas}


def _limits(extra: Any, kind: Any) -> Schema:
    found: Schema = {}
    for name, keyword in _LIMITS.items():
        value = getattr(extra, name, None)
        if value is not None and not callable(value):
            found[keyword] = getattr(value, "pattern", value)
    for name, (of_text, of_list) in _LENGTHS.items():
        if isinstance(value := getattr(extra, name, None), int):
            found[of_list if kind == "array" else of_text] = value
    return found


def _plain(value: Any) -> Any:
    """A value as JSON has it.

    Raises:
        Unsupported: it has none.
    """
    try:
        return jsonio.loads_dumped(jsonio.dumps(value))
    except jsonio.NotJSON as error:
        raise Unsupported(f"JSON cannot hold {value!r:.80}: {error}") from None
