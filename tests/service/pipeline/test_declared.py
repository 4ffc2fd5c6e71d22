"""Declared schemas are enforced before `verify_input`, by file or by hint; inferred ones never are."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any, TypedDict

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
