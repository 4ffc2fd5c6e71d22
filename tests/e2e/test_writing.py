"""What a library writes into the working directory, in containers; and what stays closed to it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import requests

from tests.e2e.project import Project

PIPELINE = """
import getpass, os, pathlib, tempfile

PLACES = ["cache.db", "runs/one/log.txt", "~/.cache/library/file", "~/.config/matplotlib/file", "{tmp}/file"]
OURS = ["entrypoints/api.sh", "denzel/__init__.py", "app/logic/pipeline.py", "requirements.txt", "app/new.txt"]


def _tried(places, mode):
    done = {}
    for place in places:
        path = pathlib.Path(place.format(tmp=tempfile.gettempdir())).expanduser()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open(mode) as file:
                file.write("x")
            done[place] = "written"
        except OSError as error:
            done[place] = type(error).__name__
    return done


AT_IMPORT = _tried(["at_import.txt"], "w")


def verify_input(json_data):
    return {"api": {**_tried(PLACES, "w"), **AT_IMPORT}, "api_ours": _tried(OURS, "a")}


def load_model():
    return getpass.getuser()


def process(model, json_data):
    try:
        os.rename("entrypoints", "moved")
        moved = "moved"
    except OSError as error:
        moved = type(error).__name__
    return {**json_data, "denzel": {**_tried(PLACES, "w"), **AT_IMPORT}, "denzel_ours": _tried(OURS, "a"), "mv": moved}


def predict(model, data):
    return {**data, "user": model}
"""


@pytest.mark.parametrize("uid", ["", "23456"])
def test_user_code_may_write_beside_the_framework(
    uid: str, new_project: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory
) -> None:
    project = new_project(tmp_path_factory.mktemp("writing"))
    if uid:
        project.set_env(DENZEL_UID=uid, DENZEL_GID=uid)
    (project.path / "app/logic/pipeline.py").write_text(PIPELINE)
    project.launch()
    answer = requests.post(f"{project.url}/predict", json={}, timeout=30).json()
    for service in ("api", "denzel"):
        assert set(answer[service].values()) == {"written"}, answer
        assert set(answer[f"{service}_ours"].values()) <= {"PermissionError", "OSError"}, answer
    assert answer["mv"] == "PermissionError"
    assert answer["user"]
