"""Schemas of type hints: what they say, nothing that they do not say, and models of packages that may not be there."""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime
import enum
import uuid
from typing import Annotated, Any, Literal, NewType, Optional, TypedDict

import pytest

from denzel.pipeline import hints


class Flower(TypedDict):
    length: float
    colour: str


class Partial(TypedDict, total=False):
    note: str


@dataclasses.dataclass
class Tree:
    name: str
    children: list[Tree] = dataclasses.field(default_factory=list)
    height: float | None = None


class Kind(enum.Enum):
    A = "a"
    B = 2


Metres = NewType("Metres", float)


PAIR = {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 2, "maxItems": 2}
OPTIONAL = {"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "null"}]}


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (dict, None),
        (Any, None),
        (object, None),
        (list, None),
        (str, None),
        (dict[str, Any], None),
        (dict | None, None),
        (dict | list, None),
        (Optional[list[int]], OPTIONAL),  # noqa: UP045
        (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (collections.abc.Sequence[bool], {"type": "array", "items": {"type": "boolean"}}),
        (tuple[int, str], PAIR),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (Kind, {"enum": ["a", 2]}),
        (list[Metres], {"type": "array", "items": {"type": "number"}}),
        (dict[str, uuid.UUID], {"type": "object", "additionalProperties": {"type": "string", "format": "uuid"}}),
        (datetime.date, {"type": "string", "format": "date"}),
        (list[int | None], {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}),
        (list[int | Any], None),
        (list[complex], None),
    ],
)  # fmt: skip
def test_what_a_hint_declares(hint: Any, schema: Any) -> None:
    assert hints.declared(hint) == schema


def test_typed_dicts_name_their_fields() -> None:
    assert hints.declared(Flower) == {
        "$ref": "#/$defs/Flower",
        "$defs": {
            "Flower": {
                "type": "object",
                "properties": {"length": {"type": "number"}, "colour": {"type": "string"}},
                "required": ["length", "colour"],
            }
        },
    }
    assert "required" not in hints.declared(Partial)["$defs"]["Partial"]  # type: ignore[index]


def test_a_dataclass_may_contain_itself() -> None:
    found = hints.declared(list[Tree])
    assert found is not None
    assert found["items"] == {"$ref": "#/$defs/Tree"}
    assert found["$defs"]["Tree"]["properties"]["children"] == {"type": "array", "items": {"$ref": "#/$defs/Tree"}}
    assert found["$defs"]["Tree"]["required"] == ["name"]


@dataclasses.dataclass
class Between:
    ge: float
    le: float


def test_annotations_add_limits_and_words() -> None:
    assert hints.declared(Annotated[float, Between(0, 1), "a share"]) == {
        "type": "number", "minimum": 0, "maximum": 1, "description": "a share",
    }  # fmt: skip


def verify_input(json_data: Flower, more: int = 0) -> dict:
    raise NotImplementedError


def predict(model: object, data: object) -> dict[str, float]:
    raise NotImplementedError


def broken(json_data: Missing) -> None:  # type: ignore[name-defined]  # noqa: F821
    raise NotImplementedError


def test_functions_declare_by_their_first_parameter_and_by_their_result() -> None:
    found = hints.of_first_parameter(verify_input)
    assert found is not None
    assert found["$ref"] == "#/$defs/Flower"
    assert hints.of_result(verify_input) is None
    assert hints.of_result(predict) == {"type": "object", "additionalProperties": {"type": "number"}}
    assert hints.of_first_parameter(lambda json_data: json_data) is None
    assert hints.of_first_parameter(print) is None


def test_hints_that_cannot_be_read_say_so() -> None:
    with pytest.raises(hints.Unsupported, match="Missing"):
        hints.of_first_parameter(broken)


def test_models_of_pydantic_make_their_own_schema() -> None:
    pydantic = pytest.importorskip("pydantic")

    class Petal(pydantic.BaseModel):
        length: float = pydantic.Field(gt=0, description="in cm")

    class Request(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="forbid")
        data: dict[str, Petal]

    found = hints.declared(Annotated[dict, Request])
    assert found is not None
    definitions = found["$defs"]
    assert definitions["Request"]["additionalProperties"] is False
    assert definitions["Petal"]["properties"]["length"]["exclusiveMinimum"] == 0
    inside = hints.declared(dict[str, Petal])
    assert inside is not None
    assert inside["additionalProperties"] == {"$ref": "#/$defs/Petal"}

    class Node(pydantic.BaseModel):
        children: list[Node] | None = None

    assert hints.declared(Node)["$ref"] == "#/$defs/Node"  # type: ignore[index]


def test_models_of_msgspec_make_their_own_schema() -> None:
    msgspec = pytest.importorskip("msgspec")
    Petal = msgspec.defstruct("Petal", [("length", Annotated[float, msgspec.Meta(gt=0)]), ("colour", str, "red")])
    Request = msgspec.defstruct("Request", [("data", dict[str, Petal])], forbid_unknown_fields=True)
    found = hints.declared(Request)
    assert found is not None
    assert found["$defs"]["Request"]["additionalProperties"] is False
    assert found["$defs"]["Petal"]["required"] == ["length"]
    assert found["$defs"]["Petal"]["properties"]["length"]["exclusiveMinimum"] == 0
