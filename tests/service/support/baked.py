"""Baked projects whose pages are looked at; one of them does what it can to lead a page astray."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.support.bakery import bake

# What a page would run, or lose, if it took texts of examples for its own.
HOSTILE_NAMES = (
    "<img src=x onerror=window.hacked=1>",
    "<svg onload=window.hacked=2>",
    '" onmouseover="window.hacked=3',
    "{{7*7}} ${7*7} #ref",
    "[a](javascript:window.hacked=4)",
    "naïve 花 \u202e",
    "__proto__",
    "constructor",
    "a'b%2fc",
)
HOSTILE_KEYS = (
    *HOSTILE_NAMES,
    "</script><script>window.hacked=7</script>",
    "$ref",
    "",
    "a/b~c",
    "toString",
    "\\u0000 <b>",
)

ECHO = """BATCHABLE = True


def verify_input(json_data):
    data = json_data.get("data") if isinstance(json_data, dict) else None
    if not isinstance(data, dict):
        raise ValueError("<b>no</b> data")
    if not all(isinstance(one, dict) and isinstance(one.get("name"), str) for one in data.values()):
        raise ValueError("each needs a name")
    return json_data


def load_model():
    return None


def process(model, json_data):
    return json_data["data"]


def predict(model, data):
    return {key: value["name"] for key, value in data.items()}
"""


def hostile(folder: Path) -> Path:
    """A project whose examples have names, keys and values that a careless page would trip over."""
    project = bake(
        folder, project_name="</title><script>window.hacked=9</script>", project_slug="hostile", example="none"
    )
    (project / "app/logic/pipeline.py").write_text(ECHO)
    info = project / "app/assets/info.txt"
    info.write_text(f"<script>window.hacked=5</script><img src=x onerror=window.hacked=6>\n\n{info.read_text()}")
    for number, name in enumerate(HOSTILE_NAMES):
        keys = HOSTILE_KEYS if number == 0 else (HOSTILE_KEYS[number], "a123")
        data = {key: {"name": name, "$ref": "#/components/schemas/Nothing", "<i>": None} for key in keys}
        example = {"request": {"data": data}, "response": dict.fromkeys(keys, name)}
        (project / f"app/assets/examples/{name}.json").write_text(json.dumps(example))
    refused = {"request": {"__proto__": {"x": 1}}, "error": "<b>no</b> data"}
    (project / "app/assets/examples/refused.json").write_text(json.dumps(refused))
    return project


BAKED: dict[str, Callable[[Path], Path]] = {
    "iris": lambda folder: bake(folder, project_slug="iris", example="iris"),
    "regression": lambda folder: bake(folder, project_slug="regression", example="regression"),
    "hostile": hostile,
}
