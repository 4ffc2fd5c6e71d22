"""The schema of examples: what all of them have in common, with some of their values.

Objects whose keys are ids, and not names of fields, are told by the convention that answers have the ids of their
requests, or by examples that have no key in common.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from denzel.examples import Example

Schema = dict[str, Any]

_ANY_KEY = ".*"
_DATA = "data"  # the key under which requests have their ids
_MOST_VALUES = 3  # example values that a field is shown with
_LONGEST = 80  # characters of such a value
_MOST_LEVELS = 40  # what is nested deeper is left open


def schemas(examples: Sequence[Example]) -> tuple[Schema, Schema]:
    """The schemas of the requests and of the answers; {} where there is nothing to infer from.

    What is required is told by the examples that expect an answer. Of the others only the fields count.
    """
    answered = [one for one in examples if one.response is not None]
    ids = bool(answered) and all(map(_answers_by_id, answered))
    good = [one.request for one in answered]
    every = [one.request for one in examples]
    requests = of_values(good or every, ids_in=_DATA if ids else None)
    if good:
        requests = _with_fields_of(requests, of_values(every, ids_in=_DATA if ids else None))
    answers = of_values([one.response for one in answered], ids_in="" if ids else None)
    return requests, answers


def of_values(values: Sequence[Any], ids_in: str | None = None) -> Schema:
    """The schema that all values fit; {} where there are none.

    Args:
        ids_in: the key whose object has ids as keys; empty: the values themselves have.
    """
    if not values:
        return {}
    from genson import SchemaBuilder

    try:
        builder = SchemaBuilder(schema_uri=None)
        seed = _seed(values)
        if ids_in == "":
            seed = _map_of(_seed([one for value in values for one in value.values()]))
        elif ids_in:
            inside = _seed([one for value in values for one in value.get(ids_in, {}).values()])
            seed = {
                **(seed or {"type": "object"}),
                "properties": {**seed.get("properties", {}), ids_in: _map_of(inside)},
            }
        if seed:
            builder.add_schema(seed)
        for value in values:
            builder.add_object(value)
        return _finished(builder.to_schema(), values)
    except RecursionError:  # nested hundreds of levels deep
        return {}


def _answers_by_id(example: Example) -> bool:
    data = example.request.get(_DATA) if isinstance(example.request, dict) else None
    return isinstance(data, dict) and bool(data) and data.keys() == (example.response or {}).keys()


def _seed(values: Sequence[Any]) -> Schema:
    """What genson has to know before: which objects have ids as keys; {} where none has."""
    objects = [value for value in values if isinstance(value, dict)]
    lists = [value for value in values if isinstance(value, list)]
    if lists and not objects:
        inside = _seed([one for value in lists for one in value])
        return {"type": "array", "items": inside} if inside else {}
    if not objects or lists:
        return {}
    if _are_maps(objects):
        return _map_of(_seed([one for value in objects for one in value.values()]))
    properties = {}
    for name in dict.fromkeys(name for value in objects for name in value):
        if inside := _seed([value[name] for value in objects if name in value]):
            properties[name] = inside
    return {"type": "object", "properties": properties} if properties else {}


def _map_of(values: Schema) -> Schema:
    return {"type": "object", "patternProperties": {_ANY_KEY: values}}


def _are_maps(objects: Sequence[dict[str, Any]]) -> bool:
    """Whether objects have no key in common, and values of one kind."""
    if len(objects) < 2 or not all(objects):
        return False
    names = [name for value in objects for name in value]
    kinds = {type(one) for value in objects for one in value.values()}
    return len(set(names)) == len(names) and (len(kinds) == 1 or kinds <= {int, float})


def _finished(schema: Schema, values: Sequence[Any], levels: int = _MOST_LEVELS) -> Schema:
    """With `additionalProperties` for maps, and with some values for each field."""
    if not levels:
        return {}
    schema, deeper = dict(schema), levels - 1
    objects = [value for value in values if isinstance(value, dict)]
    lists = [value for value in values if isinstance(value, list)]
    if "patternProperties" in schema:
        inside = schema.pop("patternProperties")[_ANY_KEY]
        schema["additionalProperties"] = _finished(inside, [one for value in objects for one in value.values()], deeper)
    if "properties" in schema:
        schema["properties"] = {
            name: _finished(one, [value[name] for value in objects if name in value], deeper)
            for name, one in schema["properties"].items()
        }
    if isinstance(schema.get("items"), dict):
        schema["items"] = _finished(schema["items"], [one for value in lists for one in value], deeper)
    if "anyOf" in schema:
        schema["anyOf"] = [_finished(one, values, deeper) for one in schema["anyOf"]]
    if shown := list(_some(values)):
        schema["examples"] = shown
    return schema


def _some(values: Sequence[Any]) -> Iterator[Any]:
    """A few of the values that are neither objects nor lists, nor long."""
    seen: list[Any] = []
    for value in values:
        if isinstance(value, dict | list) or value is None or (isinstance(value, str) and len(value) > _LONGEST):
            continue
        if any(type(one) is type(value) and one == value for one in seen):
            continue
        seen.append(value)
        yield value
        if len(seen) == _MOST_VALUES:
            return


def _with_fields_of(schema: Schema, other: Schema) -> Schema:
    """The schema, with the fields that only the other one has; they are not required."""
    merged = dict(schema)
    for keyword in ("additionalProperties", "items"):
        if isinstance(merged.get(keyword), dict) and isinstance(other.get(keyword), dict):
            merged[keyword] = _with_fields_of(merged[keyword], other[keyword])
    fields, others = merged.get("properties", {}), other.get("properties", {})
    if fields or (others and "additionalProperties" not in merged and merged.get("type") == "object"):
        known = {name: _with_fields_of(one, others.get(name, {})) for name, one in fields.items()}
        merged["properties"] = {**known, **{name: one for name, one in others.items() if name not in known}}
    return merged
