"""Schemas of examples: each field of theirs is described, ids are told from fields, and all of them fit."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

from denzel.examples import Example
from denzel.openapi import inferred


def example(request: Any, response: dict[str, Any] | None = None, name: str = "x") -> Example:
    return Example(name, request, response)


FLOWER = {"length": 4.6, "width": 2}


def test_ids_are_no_fields() -> None:
    """The answer has the ids of the request: what they are called says nothing of the next request."""
    examples = [
        example({"data": {"a": FLOWER, "b": FLOWER}}, {"a": "x", "b": "y"}),
        example({"data": {"a": FLOWER}}, {"a": "y"}),
    ]
    request, response = inferred.schemas(examples)
    data = request["properties"]["data"]
    assert "properties" not in data
    assert data["additionalProperties"]["required"] == ["length", "width"]
    assert data["additionalProperties"]["properties"]["length"] == {"type": "number", "examples": [4.6]}
    assert data["additionalProperties"]["properties"]["width"] == {"type": "integer", "examples": [2]}
    assert response == {"type": "object", "additionalProperties": {"type": "string", "examples": ["x", "y"]}}


def test_without_ids_keys_are_fields() -> None:
    examples = [example({"text": "a", "n": 1}, {"score": 0.5}), example({"text": "b"}, {"score": 1.5, "why": None})]
    request, response = inferred.schemas(examples)
    assert request["required"] == ["text"]
    assert request["properties"].keys() == {"text", "n"}
    assert response["properties"]["score"]["type"] == "number"
    assert response["properties"]["why"]["type"] == "null"
    assert response["required"] == ["score"]


def test_an_example_that_is_refused_says_which_fields_there_are_and_not_which_are_needed() -> None:
    good = example({"data": {"a": FLOWER}, "unit": "cm"}, {"a": "x"})
    bad = example({"data": {"a": {"length": "long", "colour": "red"}}, "debug": True})
    request, _ = inferred.schemas([bad, good])
    assert request["required"] == ["data", "unit"]
    assert request["properties"].keys() == {"data", "unit", "debug"}
    flower = request["properties"]["data"]["additionalProperties"]
    assert flower["properties"].keys() == {"length", "width", "colour"}
    assert flower["properties"]["length"]["type"] == "number"
    assert flower["required"] == ["length", "width"]


def test_maps_elsewhere_are_told_by_keys_that_no_two_have_in_common() -> None:
    request, _ = inferred.schemas(
        [example({"words": {"a": 1, "b": 2}}, {"n": 1}), example({"words": {"c": 3}}, {"n": 2})]
    )
    assert request["properties"]["words"]["additionalProperties"]["type"] == "integer"


NESTED: Any = 1
for _ in range(290):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    "requests",
    [
        [1], ["text"], [None], [True, 1, "x"], [[1, 2.5, "x", None, {"a": 1}]], [[]], [{}], [{"data": {}}],
        [{"data": 5}, {"data": {"a": [1]}}], [{"data": [FLOWER, {"x": None}]}], [{"": {"$ref": 1}}, {"__proto__": []}],
        [{"a": {"b": {"c": [[1], [{"d": 1}, {"d": "x"}]]}}}], [NESTED], [{"a": NESTED}, {"b": {"c": NESTED}}],
        [{"x": 2**63}, {"x": -(2**62)}], [{"a": "x" * 100_000}],
    ],
)  # fmt: skip
def test_every_example_fits_what_is_inferred_from_it(requests: list[Any]) -> None:
    examples = [example(request, {"n": number}) for number, request in enumerate(requests)]
    schema, _ = inferred.schemas(examples)
    validator = jsonschema_rs.validator_for(schema)
    for request in requests:
        assert validator.is_valid(request), schema


def test_without_examples_nothing_is_said() -> None:
    assert inferred.schemas([]) == ({}, {})
    assert inferred.schemas([example({"a": 1})])[1] == {}


def test_long_values_are_not_shown() -> None:
    request, _ = inferred.schemas([example({"image": "x" * 1000, "kind": "png"}, {"n": 1})])
    assert "examples" not in request["properties"]["image"]
    assert request["properties"]["kind"]["examples"] == ["png"]
