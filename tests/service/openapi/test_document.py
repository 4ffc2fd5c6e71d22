"""The document is a valid OpenAPI document, whatever the project has, and describes what the service answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from denzel import jsonio
from denzel.examples import Example
from denzel.openapi import project
from denzel.openapi.access import Access
from denzel.openapi.document import document
from denzel.openapi.project import Project
from denzel.pipeline.declared import Declared
from tests.support.bakery import TEMPLATE


def of(access: Access | None = None, **values: Any) -> dict[str, Any]:
    """The document of a project, as a client reads it; it is valid."""
    project = Project(**{"title": "Tested", **values})
    found = json.loads(jsonio.dumps(document(project, metrics=True, access=access), jsonio.DEEPER))
    OpenAPIV31SpecValidator(found).validate()
    return found


def resolved(found: dict[str, Any], name: str) -> jsonschema_rs.Validator:
    """What validates by a component of the document."""
    root = {**found["components"], "$ref": f"#/schemas/{name}"}
    text = json.dumps(root).replace("#/components/", "#/")
    return jsonschema_rs.validator_for(json.loads(text))


EXAMPLE = Example("one", {"data": {"a": {"x": 1}}}, {"a": "yes"})


def test_it_is_valid_without_anything() -> None:
    found = of()
    assert found["openapi"].startswith("3.1")
    assert found["components"]["schemas"]["Request"].keys() == {"description"}
    assert "examples" not in found["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]


@pytest.mark.parametrize("name", ["iris", "regression"])
def test_it_is_valid_for_the_examples_of_the_template(name: str) -> None:
    found = of(examples=project.read("x", None, TEMPLATE / "examples" / name).examples)
    shown = found["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    assert list(shown)[-1] == "missing_feature", "those that expect an answer come first"
    validator = resolved(found, "Request")
    assert [validator.is_valid(one["value"]) for one in shown.values()] == [True, True, False]


def test_every_path_of_the_service_is_described() -> None:
    found = of(examples=(EXAMPLE,))
    assert found["paths"].keys() == {"/predict", "/status/{task_id}", "/ready", "/ping", "/info", "/metrics"}
    predict = found["paths"]["/predict"]["post"]
    names = [one["name"] for one in predict["parameters"]]
    assert names == ["Prefer", "Idempotency-Key", "X-Request-Id", "traceparent"]
    assert predict["responses"].keys() == {
        "200", "202", "400", "403", "409", "413", "415", "422", "429", "500", "503",
    }  # fmt: skip
    assert predict["responses"]["200"]["headers"].keys() == {
        "Denzel-Task-Id", "Denzel-Model", "Preference-Applied", "Location", "Server-Timing", "X-Request-Id",
    }  # fmt: skip
    callback = predict["callbacks"]["predictions"]["{$request.body#/callback_uri}"]["post"]
    names = [one["name"] for one in callback["parameters"] if one["required"]]
    assert names == ["webhook-id", "webhook-timestamp", "webhook-signature"]


def operations(found: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (path, method): item[method]
        for path, item in found["paths"].items()
        for method in item
        if method != "parameters"
    }


def test_without_keys_none_is_asked_for() -> None:
    found = of()
    assert "securitySchemes" not in found["components"]
    for name, operation in operations(found).items():
        assert "security" not in operation, name
        assert "403" in operation["responses"], name
        assert "401" not in operation["responses"], name


def test_with_keys_each_operation_says_whether_it_asks_for_one() -> None:
    found = of(Access(keys=True, open_paths=frozenset({"/metrics"}), rates=True))
    assert found["components"]["securitySchemes"].keys() == {"bearer", "header"}
    by_key = [{"bearer": []}, {"header": []}]
    for (path, method), operation in operations(found).items():
        either = path in ("/ready", "/metrics")
        expected = [] if path == "/ping" else [*by_key, {}] if either else by_key
        assert operation["security"] == expected, (path, method)
        assert ("401" in operation["responses"]) == (expected == by_key), (path, method)
        assert ("429" in operation["responses"]) == (path not in ("/ping", "/ready")), (path, method)
    predict = found["paths"]["/predict"]["post"]
    assert predict["callbacks"]["predictions"]["{$request.body#/callback_uri}"]["post"]["security"] == []
    assert predict["responses"]["401"]["headers"].keys() == {"WWW-Authenticate"}
    short = found["paths"]["/ready"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]["anyOf"]
    assert short == [{"$ref": f"#/components/schemas/{name}"} for name in ("Readiness", "YesOrNo")]


DECLARED: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "https://example.com/request",
    "type": "object",
    "properties": {
        "data": {"type": "object", "additionalProperties": {"$ref": "#/$defs/Flower"}},
        "$ref": {"const": "#/x"},
    },
    "additionalProperties": False,
    "$defs": {
        "Flower": {"type": "object", "properties": {"x": {"type": "number"}, "next": {"$ref": "#/$defs/Flower"}}}
    },
}


def test_a_declared_schema_is_there_as_it_was_written() -> None:
    found = of(declared=Declared(request=DECLARED, response={"type": "object", "properties": {"next": {"$ref": "#"}}}))
    validator = resolved(found, "Request")
    assert validator.is_valid({"data": {"a": {"x": 1, "next": {"x": 2}}}, "$ref": "#/x"})
    assert validator.is_valid({"callback_uri": "https://example.com/"})
    assert not validator.is_valid({"data": {"a": {"next": {"x": "no"}}}})
    assert not validator.is_valid({"more": 1})
    assert not resolved(found, "Response").is_valid({"next": {"next": 5}})
    assert "are refused" in found["components"]["schemas"]["Request"]["description"]


def test_a_schema_of_a_class_begins_with_its_fields() -> None:
    schema = {"$ref": "#/$defs/R", "$defs": {"R": {"type": "object", "properties": {"again": {"$ref": "#/$defs/R"}}}}}
    found = of(declared=Declared(request=schema))
    assert found["components"]["schemas"]["Request"]["properties"].keys() == {"again", "callback_uri"}
    assert not resolved(found, "Request").is_valid({"again": {"again": 5}})


def test_values_that_look_like_schemas_stay_values() -> None:
    schema = {"properties": {"a": {"enum": [{"$ref": "#/x"}], "default": {"$ref": "#/x"}}}}
    found = document(Project("Tested", declared=Declared(request=schema)))
    assert found["components"]["schemas"]["Request"]["properties"]["a"] == schema["properties"]["a"]


def test_the_text_of_the_project_is_no_markup() -> None:
    text = "<b>\n# no heading ``` [a](javascript:b)"
    assert of(text=text)["info"]["description"] == f"````text\n{text}\n````"
    assert of()["info"]["description"] == ""


NAMES = ("<script>", "a/b", "", "$ref", "{x}", "naïve 花", "__proto__")


def test_hostile_names_are_names() -> None:
    examples = [Example(name, {name: {"$ref": "#/nowhere"}, "x": [{"$ref": 5}]}, {name: 1}) for name in NAMES]
    found = of(title="<b>", text="</script>", examples=tuple(examples))
    shown = found["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    assert list(shown) == list(NAMES)


def test_what_cannot_be_read_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "app/assets/examples"
    folder.mkdir(parents=True)
    good = json.dumps({"request": {"a": 1}, "response": {"b": 2}})
    deep = '{"request": ' + "[" * 290 + "]" * 290 + "}"
    for name, text in {
        "good": good, "not_json": "{", "nan": '{"request": NaN}', "no_example": "[]", "deep": deep,
        "large": json.dumps({"request": "x" * project.MOST_BYTES}), "surrogate": '{"request": "\\ud800"}',
        "huge": f'{{"request": {10**30}}}',
    }.items():  # fmt: skip
        (folder / f"{name}.json").write_text(text)
    (tmp_path / "app/assets/info.txt").write_bytes(b"\xff\xfe Title \n\nmore")
    found = project.read("name", None, tmp_path)
    assert {one.name for one in found.examples} >= {"good"}
    assert {one.name for one in found.examples} <= {"good", "deep", "huge"}
    assert found.title.endswith("Title")
    assert of(examples=found.examples)


def test_a_project_that_says_nothing_has_its_name(tmp_path: Path) -> None:
    found = project.read("name", None, tmp_path)
    assert (found.title, found.text, found.examples) == ("name", "", ())
