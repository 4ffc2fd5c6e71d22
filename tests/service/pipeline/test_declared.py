"""Declared schemas are enforced before `verify_input`, by file or by hint; inferred ones never are."""

from __future__ import annotations

import dataclasses
import datetime
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, TypedDict

import pytest

from denzel import testing
from denzel.pipeline import declared, stages
from denzel.pipeline.errors import PipelineError


class Flower(TypedDict):
    length: float


class Request(TypedDict):
    data: dict[str, Flower]


def hinted(json_data: Request) -> Any:
    return json_data


def module_of(verify_input: Any = lambda json_data: json_data, predict: Any = None) -> ModuleType:
    module = ModuleType("pipeline")
    module.verify_input, module.predict = verify_input, predict  # type: ignore[attr-defined]
    return module


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's folder; what is declared is read from there."""
    (tmp_path / "app/assets").mkdir(parents=True)
    monkeypatch.setattr(declared, "_ROOT", tmp_path)
    return tmp_path


def write(root: Path, content: Any) -> None:
    (root / declared.FILE).write_text(content if isinstance(content, str) else json.dumps(content))


def refused(module: ModuleType, request: Any) -> str:
    with pytest.raises(declared.NotAsDeclared) as caught:
        stages.verified(module, request)
    return str(caught.value)


def test_without_a_declaration_everything_comes_through(root: Path) -> None:
    module = module_of()
    assert stages.verified(module, ["anything"]) == ["anything"]
    assert declared.of(module) == declared.Declared()


def test_a_bare_hint_is_no_declaration(root: Path) -> None:
    def verify_input(json_data: dict) -> dict:
        return json_data

    assert stages.verified(module_of(verify_input), ["no dict"]) == ["no dict"]


def test_a_hint_is_enforced_with_the_path(root: Path) -> None:
    module = module_of(hinted)
    good = {"data": {"a": {"length": 1}}}
    assert stages.verified(module, good) == good
    assert refused(module, {"data": {"a": {"length": "x"}}}) == '$.data.a.length: "x" is not of type "number"'
    assert refused(module, {"data": {"a b": {}}}) == '$.data["a b"]: "length" is a required property'
    assert refused(module, []) == '$: [] is not of type "object"'


def test_verify_input_is_not_called_with_what_does_not_fit(root: Path) -> None:
    calls = []

    def verify_input(json_data: Request) -> Any:
        calls.append(json_data)
        return json_data

    refused(module_of(verify_input), {})
    assert not calls


def test_the_tests_of_a_project_are_refused_alike(root: Path) -> None:
    with pytest.raises(declared.NotAsDeclared, match=r"^\$\.data: 5 is not of type"):
        testing.verify_input(module_of(hinted), {"data": 5})


def test_several_places_are_named_and_not_all(root: Path) -> None:
    message = refused(module_of(hinted), {"data": {str(number): {} for number in range(9)}})
    assert message.count("required property") == 3
    assert message.endswith("; ...")
    assert len(refused(module_of(hinted), {"data": "x" * 10_000})) < 300


def test_the_file_goes_before_the_hint(root: Path) -> None:
    write(root, {"type": "array"})
    module = module_of(hinted)
    assert stages.verified(module, [1]) == [1]
    assert refused(module, {}) == '$: {} is not of type "array"'


def test_the_file_may_hold_both(root: Path) -> None:
    write(root, {"request": {"type": "array"}, "response": {"type": "object"}})
    assert declared.of(module_of()) == declared.Declared({"type": "array"}, {"type": "object"})
    write(root, {"response": {"type": "object"}})
    assert declared.of(module_of(hinted)).request["$ref"] == "#/$defs/Request"  # type: ignore[index]


def test_the_services_own_key_is_no_fault(root: Path) -> None:
    write(root, {"type": "object", "properties": {"a": {}}, "additionalProperties": False})
    request = {"a": 1, "callback_uri": "https://example.com/"}
    assert stages.verified(module_of(), request) == request
    assert "b" in refused(module_of(), {"a": 1, "b": 2, "callback_uri": "x"})
    write(root, {"properties": {"callback_uri": {"type": "null"}}})
    assert refused(module_of(), request).startswith("$.callback_uri: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"app/assets/schema.json cannot be read as JSON: "),
        ("[]", r"app/assets/schema.json must be a JSON Schema"),
        ({"type": "objekt"}, r"app/assets/schema.json: request is no JSON Schema: \$\.type: "),
        ({"request": 5}, r"app/assets/schema.json: request must be a JSON Schema"),
        ({"request": {"$ref": "#/$defs/gone"}}, r"app/assets/schema.json: request is no JSON Schema"),
    ],
)
def test_a_schema_that_cannot_be_used_is_an_error_of_the_pipeline(root: Path, content: Any, message: str) -> None:
    write(root, content)
    with pytest.raises(PipelineError, match=message):
        declared.of(module_of())


def test_formats_are_enforced(root: Path) -> None:
    write(root, {"properties": {"day": {"format": "date"}}})
    assert stages.verified(module_of(), {"day": "2026-01-31"})
    assert refused(module_of(), {"day": "31.1."}) == '$.day: "31.1." is not a "date"'


def test_a_hint_that_cannot_be_read_declares_nothing_and_is_told(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    def verify_input(json_data: "Gone") -> Any:  # type: ignore[name-defined]  # noqa: F821, UP037
        return json_data

    assert stages.verified(module_of(verify_input), 5) == 5
    assert "The hint of verify_input declares no schema" in caplog.text


@dataclasses.dataclass
class Called:
    callback_uri: str
    a: int = 0


class MayBeCalled(TypedDict, total=False):
    callback_uri: str


def verifier(hint: Any) -> Callable[..., Any]:
    def verify_input(json_data):  # type: ignore[no-untyped-def]
        return json_data

    verify_input.__annotations__ = {"json_data": hint}
    return verify_input


def test_the_services_own_key_may_be_declared_by_a_hint(root: Path) -> None:
    request = {"callback_uri": "https://example.com/"}
    for hint in (Called, MayBeCalled, Called | list[int]):
        module = module_of(verifier(hint))
        assert stages.verified(module, request) == request
        assert "5" in refused(module, {"callback_uri": 5})
    assert refused(module_of(verifier(Called)), {}) == '$: "callback_uri" is a required property'


NAMED = {"properties": {"callback_uri": {"const": "x"}}}


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [{"type": "object"}, {"required": ["callback_uri"], **NAMED}]},
        {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"$ref": "#/$defs/c"}, "c": NAMED}},
        {"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#/allOf/0"}]}}, "allOf": [NAMED]},
        {"$id": "https://example.com/", "$ref": "https://example.com/#/$defs/a", "$defs": {"a": NAMED}},
    ],
)
def test_the_services_own_key_is_found_behind_references(root: Path, schema: Any) -> None:
    write(root, schema)
    assert stages.verified(module_of(), {"callback_uri": "x"})
    assert refused(module_of(), {"callback_uri": "y"}).startswith("$.callback_uri: ")


def test_references_in_a_circle_end(root: Path) -> None:
    circle = {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#"}, {"$ref": "#/$defs/a"}, {"type": "null"}]}}}
    assert not declared._names_callback(circle, circle, set())


def test_formats_of_hints_are_not_enforced(root: Path) -> None:
    module = module_of(verifier(dict[str, datetime.datetime]))
    assert stages.verified(module, {"a": "2024-01-01T00:00:00"})
    assert refused(module, {"a": 5}) == '$.a: 5 is not of type "string"'


def test_models_of_pydantic_judge_by_themselves(root: Path) -> None:
    pydantic = pytest.importorskip("pydantic")

    class Petal(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(populate_by_name=True, extra="forbid")
        width: int | list[int] = pydantic.Field(alias="Width")
        at: datetime.datetime | None = None

        @pydantic.model_validator(mode="before")
        @classmethod
        def renamed(cls, data: Any) -> Any:
            if "breadth" in data:
                data["Width"] = data.pop("breadth")
            return data

    class Request(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="forbid")
        data: dict[str, Petal]

    for hint in (Request, Annotated[dict, Request], Request | None, Annotated[Request, "flowers"]):
        module = module_of(verifier(hint))
        good = {"data": {"a": {"width": "3", "at": "2024-01-01T00:00:00"}, "b": {"Width": 3}, "c": {"breadth": 3}}}
        good["callback_uri"] = "https://example.com/"  # type: ignore[assignment]
        before = json.dumps(good)
        assert stages.verified(module, good) is good
        assert json.dumps(good) == before, "a validator of the model has changed the request"
        message = refused(module, {"data": {"a b": {"Width": "x"}}})
        assert message.startswith('$.data["a b"].Width: Input should be a valid integer')
        assert refused(module, {"data": {"a": {}}}) == "$.data.a.Width: Field required"
        assert refused(module, {"data": {"a": {"Width": 1, "c": 2}}}).startswith("$.data.a.c: Extra inputs")
        assert refused(module, {}) == "$.data: Field required"
        assert refused(module, []).startswith("$: Input should be ")
        assert refused(module, {"data": {str(number): {} for number in range(9)}}).count("Field required") == 3
        assert declared.of(module).request, "the schema describes them still"


def test_models_inside_other_hints_judge_by_themselves(root: Path) -> None:
    pydantic = pytest.importorskip("pydantic")

    class Petal(pydantic.BaseModel):
        width: int

    class Strict(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(strict=True)
        at: datetime.datetime

    Holder = dataclasses.make_dataclass("Holder", [("petals", list[Petal])])
    for hint, good, bad, path in (
        (dict[str, Petal], {"a": {"width": "3"}}, {"a": {"width": "x"}}, "$.a.width: "),
        (list[Annotated[dict, Petal]], [{"width": "3"}], [{"width": "x"}], "$[0].width: "),
        (Holder, {"petals": [{"width": "3"}]}, {"petals": [{"width": "x"}]}, "$.petals[0].width: "),
        (Strict, {"at": "2024-01-01T00:00:00"}, {"at": 5}, "$.at: "),
    ):
        module = module_of(verifier(hint))
        assert stages.verified(module, good) == good
        assert refused(module, bad).startswith(path)


def test_a_model_of_pydantic_may_name_the_services_own_key(root: Path) -> None:
    pydantic = pytest.importorskip("pydantic")

    class Request(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(populate_by_name=True)
        callback_uri: str = pydantic.Field(alias="answerTo")

    for hint in (Request, Annotated[dict, Request]):
        module = module_of(verifier(hint))
        assert stages.verified(module, {"callback_uri": "x"})
        assert refused(module, {"callback_uri": 5}).startswith("$.callback_uri: ")
        assert refused(module, {}) == "$.answerTo: Field required"


def test_models_of_msgspec_judge_by_themselves(root: Path) -> None:
    msgspec = pytest.importorskip("msgspec")
    Petal = msgspec.defstruct("Petal", [("width", int), ("at", datetime.datetime | None, None)], rename="camel")
    Request = msgspec.defstruct(
        "Request", [("data", Petal), ("by_number", dict[int, int], {})], forbid_unknown_fields=True
    )
    module = module_of(verifier(Request))
    good = {
        "data": {"width": 3, "at": "2024-01-01T00:00:00"},
        "by_number": {"1": 2},
        "callback_uri": "https://example.com/",
    }
    assert stages.verified(module, good) is good
    assert refused(module, {"data": {"width": "x"}}) == "$.data.width: Expected `int`, got `str`"
    assert refused(module, {}) == "$: Object missing required field `data`"
    assert "`b`" in refused(module, {"data": {"width": 1}, "b": 1})


def test_where_models_cannot_judge_the_rest_is_checked(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    pydantic, msgspec = pytest.importorskip("pydantic"), pytest.importorskip("msgspec")
    Petal = pydantic.create_model("Petal", width=(int, ...))
    Leaf = msgspec.defstruct("Leaf", [("width", int)])
    Both = dataclasses.make_dataclass("Both", [("petal", Petal), ("leaf", Leaf), ("name", str)])
    module = module_of(verifier(dict[str, Both]))
    assert stages.verified(module, {"a": {"petal": {"width": "3"}, "leaf": {}, "name": ""}})
    assert refused(module, {"a": {"petal": {}, "leaf": {}}}) == '$.a: "name" is a required property'
    assert "The hint of verify_input is checked without its models" in caplog.text


def test_no_package_of_models_is_loaded_for_other_hints(root: Path) -> None:
    script = (
        "import sys, types; from denzel.pipeline import declared\n"
        "def verify_input(json_data: dict[str, float]): return json_data\n"
        "declared.check(types.SimpleNamespace(verify_input=verify_input), {'a': 1})\n"
        "assert 'jsonschema_rs' in sys.modules\n"
        "assert not {'pydantic', 'msgspec'} & sys.modules.keys()"
    )
    folder = Path(declared.__file__).parents[2]
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=True, timeout=60)
