"""Values that fit a JSON Schema, and some that do not quite, made by hypothesis."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

Schema = dict[str, Any]

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
INTEGERS = st.one_of(st.integers(-1000, 1000), st.integers(-(2**63), 2**64 - 1))
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.one_of(st.none(), st.booleans(), INTEGERS, FLOATS, TEXTS)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6
)
# Keys that a careless program trips over.
_KEYS = st.one_of(TEXTS, st.sampled_from(["", "__proto__", "constructor", "$ref", "data", "0", "a/b~c", "\x00", "."]))


def fitting(schema: Schema) -> SearchStrategy[Any]:
    """Values that fit a schema of these keywords: const, enum, type, properties, required, additionalProperties, items,
    anyOf, and the bounds of sizes and numbers.
    """
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of([fitting(one) for one in schema["anyOf"]])
    kinds = schema.get("type")
    if kinds is None:
        return VALUES
    if isinstance(kinds, list):
        return st.one_of([fitting({**schema, "type": kind}) for kind in kinds])
    return _OF_KIND[kinds](schema)


def _object(schema: Schema) -> SearchStrategy[Any]:
    properties, required = schema.get("properties", {}), set(schema.get("required", ()))
    fields = st.fixed_dictionaries(
        {name: fitting(properties.get(name, {})) for name in required},
        optional={name: fitting(one) for name, one in properties.items() if name not in required},
    )
    more = schema.get("additionalProperties", True)
    if more is False:
        return fields
    others = st.dictionaries(
        _KEYS.filter(lambda name: name not in properties),
        VALUES if more is True else fitting(more),
        min_size=max(0, schema.get("minProperties", 0) - len(required)),
        max_size=min(3, schema.get("maxProperties", 3)),
    )
    return others if not properties else st.builds(lambda some, rest: {**rest, **some}, fields, others)


def _array(schema: Schema) -> SearchStrategy[Any]:
    most = min(4, schema.get("maxItems", 4))
    return st.lists(fitting(schema.get("items", {})), min_size=schema.get("minItems", 0), max_size=most)


_OF_KIND = {
    "object": _object,
    "array": _array,
    "string": lambda schema: st.text(
        st.characters(exclude_categories=["Cs"]),
        min_size=schema.get("minLength", 0),
        max_size=min(20, schema.get("maxLength", 20)),
    ),
    "integer": lambda schema: st.integers(schema["minimum"], schema["maximum"]) if "minimum" in schema else INTEGERS,
    "number": lambda schema: st.one_of(INTEGERS, FLOATS),
    "boolean": lambda schema: st.booleans(),
    "null": lambda schema: st.none(),
}


def almost_fitting(schema: Schema) -> SearchStrategy[Any]:
    """Values that fit but for one place, which was taken away, replaced, or has got a neighbour; they may still fit."""
    return _changed(fitting(schema))


_CHANGES = st.sampled_from(["replace", "remove", "add"])
_PLACES = st.integers(0, 100)


@st.composite
def _changed(draw: st.DrawFn, values: SearchStrategy[Any]) -> Any:
    value = copy.deepcopy(draw(values))
    outer, key, place = None, None, value
    while isinstance(place, dict | list) and place:
        keys = sorted(place) if isinstance(place, dict) else range(len(place))
        outer, key = place, keys[draw(_PLACES) % len(keys)]
        place = outer[key]
        if draw(st.booleans()):
            break
    if outer is None:
        return draw(VALUES)
    change = draw(_CHANGES)
    if change == "remove":
        del outer[key]
    elif change == "add" and isinstance(outer, dict):
        outer[draw(_KEYS)] = draw(VALUES)
    else:
        outer[key] = draw(VALUES)
    return value
