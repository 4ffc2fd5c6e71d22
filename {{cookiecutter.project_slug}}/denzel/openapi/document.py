"""The OpenAPI document of a service (version 3.1, https://spec.openapis.org/oas/v3.1.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from denzel.examples import Example
from denzel.openapi import inferred, operations
from denzel.openapi.access import SCHEMES, Access
from denzel.openapi.access import add as add_access
from denzel.openapi.parts import HEADERS, SCHEMAS, Part
from denzel.openapi.project import Project
from denzel.pipeline.declared import CALLBACK

VERSION = "3.1.1"

_CALLBACK_URI: Part = {
    "type": "string",
    "format": "uri",
    "maxLength": 2048,
    "description": "Of an asynchronous request: where its predictions are sent. It may be left out.",
}
_INFERRED = "Inferred from the examples of the project: it describes requests, and refuses none."
_DECLARED = "Declared by the project: requests that do not fit are refused (400)."
_NOTHING = "Any JSON: the project has no examples and declares no schema."


def document(project: Project, metrics: bool = False, access: Access | None = None) -> dict[str, Any]:
    """The document.

    Args:
        project: what the project says of itself.
        metrics: whether it has /metrics.
        access: who may ask.
    """
    access = access or Access()
    request, response = inferred.schemas(project.examples)
    paths = operations.paths(_shown(project.examples), metrics)
    add_access(paths, access)
    schemas: Part = {
        "Request": _request(project, request),
        "Response": _response(project, response),
        **SCHEMAS,
    }
    return {
        "openapi": VERSION,
        "info": {"title": project.title, "description": _as_it_is(project.text), "version": project.version or "1"},
        "servers": [{"url": "./", "description": "This service, under whatever path it is reached."}],
        "tags": list(operations.TAGS),
        "paths": paths,
        "components": {"schemas": schemas, "headers": HEADERS, **({"securitySchemes": SCHEMES} if access.keys else {})},
    }


def _as_it_is(text: str) -> str:
    """Plain text in CommonMark, as descriptions are: nothing of it is a tag, a link or a heading."""
    if not text:
        return ""
    runs = [len(run) for run in re.findall("`+", text)]
    fence = "`" * max(3, *(length + 1 for length in runs)) if runs else "```"
    return f"{fence}text\n{text}\n{fence}"


def _request(project: Project, inferred_schema: Part) -> Part:
    declared = project.declared.request
    if declared is not None:
        return _noted(_with_callback(_moved(declared, "Request")), _DECLARED)
    if not inferred_schema:
        return {"description": _NOTHING}
    return _noted(_with_callback(inferred_schema), _INFERRED)


def _response(project: Project, inferred_schema: Part) -> Part:
    declared = project.declared.response
    if declared is not None:
        return _noted(_moved(declared, "Response"), "")
    note = "What `predict` returns."
    return _noted(inferred_schema or {"type": "object"}, note)


def _noted(schema: Part, note: str) -> Part:
    text = "\n\n".join(filter(None, [schema.get("description"), note]))
    return {**schema, **({"description": text} if text else {})}


def _with_callback(schema: Part) -> Part:
    """With the key that the service itself reads, where requests are objects."""
    if "properties" not in schema or CALLBACK in schema["properties"]:
        return schema
    return {**schema, "properties": {**schema["properties"], CALLBACK: _CALLBACK_URI}}


def _moved(schema: Part, name: str) -> Part:
    """A schema as a component of the document: its references lead to itself there."""
    new_root = f"#/components/schemas/{name}"

    def moved(value: Any, is_schema: bool = True) -> Any:
        if isinstance(value, list):
            return [moved(one) for one in value]
        if not isinstance(value, dict):
            return value
        found = {}
        for key, one in value.items():
            if is_schema and key in ("$ref", "$dynamicRef") and isinstance(one, str) and one.startswith("#"):
                found[key] = new_root + one.removeprefix("#") if one == "#" or one.startswith("#/") else one
            elif is_schema and key in ("const", "enum", "default", "examples", "example"):  # values, no schemas
                found[key] = one
            else:
                names = is_schema and key in ("properties", "$defs", "definitions", "patternProperties")
                found[key] = moved(one, is_schema=not names)
        return found

    plain = {key: value for key, value in schema.items() if key not in ("$id", "$schema")}
    found = moved(plain)
    if found.keys() == {"$ref", "$defs"}:  # as of a dataclass: its own schema comes first, for readers
        first = found["$ref"].rpartition("/")[2]
        return {**found["$defs"].get(first, {}), "$defs": found["$defs"]}
    return found


def _shown(examples: Sequence[Example]) -> Part:
    """Examples in OpenAPI's form, by their names."""
    return {
        one.name: {
            "summary": one.name if one.error is None else f"{one.name} (is refused)",
            "value": one.request,
        }
        for one in examples
    }
