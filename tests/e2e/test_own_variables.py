"""Variables of the user's own in .env, with values that are easily mangled: the same in containers as in processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.e2e.project import Project

# as written in .env -> as the pipeline finds it
VALUES = {
    "plain": "plain",
    "'pa$word # \"1\"'": 'pa$word # "1"',
    '"two words"': "two words",
    "pa$$word#1": "pa$word#1",
    "https://me:p%40ss@host/?a=b&c=d": "https://me:p%40ss@host/?a=b&c=d",
    "'{\"key\": [1, 2]}'": '{"key": [1, 2]}',
}
PIPELINE = """
import os

AT_IMPORT = os.environ.get("OWN_0")


def _seen():
    return {name: value for name, value in os.environ.items() if name.startswith("OWN_")}


def verify_input(json_data):
    return {"api": _seen()}


def load_model():
    return AT_IMPORT


def process(model, json_data):
    return json_data


def predict(model, data):
    secret = os.environ.get("MONITOR_PASSWORD", "")
    return {**data, "denzel": _seen(), "at_import": model, "secret": secret}
"""


def prepare(path: Path) -> dict[str, str]:
    """Write the variables and a pipeline that answers what it sees; what it is to see."""
    with (path / ".env").open("a", encoding="utf-8") as file:
        for number, written in enumerate(VALUES):
            file.write(f"OWN_{number}={written}\n")
    (path / "app/logic/pipeline.py").write_text(PIPELINE, encoding="utf-8")
    return {f"OWN_{number}": value for number, value in enumerate(VALUES.values())}


def test_containers_find_them(new_project: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory) -> None:
    project = new_project(tmp_path_factory.mktemp("variables"))
    wanted = prepare(project.path)
    project.launch()
    answer = requests.post(f"{project.url}/predict", json={}, timeout=30).json()
    assert answer == {"api": wanted, "denzel": wanted, "at_import": "plain", "secret": ""}
    env = project.path / ".env"
    env.write_text(env.read_text().replace("OWN_0=plain", "OWN_0=edited"))
    project.run("restart")
    answer = requests.post(f"{project.url}/predict", json={}, timeout=30).json()
    assert json.dumps(answer).count("edited") == 3
