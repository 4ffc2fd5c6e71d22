"""A file of app/ that the user's code does not find: the advice names it, and what is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands.shared import advice

RAISED = "load_model raised {} (app/logic/pipeline.py, line 9)"
PYTHON = "FileNotFoundError: [Errno 2] No such file or directory: '{}'"
ONNX = "NoSuchFile: [ONNXRuntimeError] : 3 : NO_SUCHFILE : Load model {} failed. File doesn't exist"
MISSING = "app/assets/chrn.joblib does not exist; there are: churn.joblib, examples/, info.txt"


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with a model."""
    (tmp_path / "app/logic").mkdir(parents=True)
    (tmp_path / "app/logic/pipeline.py").touch()
    (tmp_path / "app/assets/examples").mkdir(parents=True)
    for name in ("churn.joblib", "info.txt", ".DS_Store"):
        (tmp_path / "app/assets" / name).touch()
    monkeypatch.setattr(advice, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize("before", ["", "./", "/opt/denzel/", "ROOT/"])
@pytest.mark.parametrize("said", [PYTHON, ONNX])
def test_the_file_and_what_is_there_are_named(root: Path, said: str, before: str) -> None:
    path = before.replace("ROOT", str(root)) + "app/assets/chrn.joblib"
    error = RAISED.format(said.replace("{}", path))
    assert advice.for_containers(error) == f'{MISSING}; correct that, then run "make restart"'
    assert advice.for_dev(error) == MISSING


def test_the_first_part_that_is_missing_is_named(root: Path) -> None:
    error = RAISED.format(PYTHON.format("./app/assets/bert/config.json"))
    assert advice.for_dev(error) == "app/assets/bert does not exist; there are: churn.joblib, examples/, info.txt"
    error = RAISED.format(PYTHON.format("./app/assets/examples/one.json"))
    assert advice.for_dev(error) == "app/assets/examples/one.json does not exist: the folder is empty"


@pytest.mark.parametrize(
    "said",
    [
        PYTHON.format("app/assets/churn.joblib"),  # it is there, for us
        PYTHON.format("/usr/share/app/assets/x"),
        PYTHON.format("myapp/assets/x"),
        PYTHON.format("app/../../x"),
        PYTHON.format("app/" + "x" * 5000),
        "ValueError: app/assets/chrn.joblib is damaged",
    ],
)
def test_another_error_is_left_as_it_was(said: str) -> None:
    assert advice.for_dev(RAISED.format(said)) == ""
    assert "does not exist" not in advice.for_containers(RAISED.format(said))
