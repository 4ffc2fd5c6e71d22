"""The user's module: imported anew, its errors told with their place, its stages' values checked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import app
from denzel.pipeline import errors, loading, stages
from denzel.pipeline.errors import BadAnswer

COMPLETE = (
    "def verify_input(x): return x\ndef load_model(): pass\ndef process(m, x): return x\ndef predict(m, x): return x\n"
)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Call it with the text of pipeline.py and of other modules beside it."""
    logic = tmp_path / "app" / "logic"
    logic.mkdir(parents=True)
    (logic / "__init__.py").touch()
    monkeypatch.setattr(app, "__path__", [str(tmp_path / "app"), *app.__path__])
    before = {name: module for name, module in sys.modules.items() if name.startswith("app.logic")}

    def create(text: str, **others: str) -> None:
        for name, content in {"pipeline": text, **others}.items():
            (logic / f"{name}.py").write_text(content)

    yield create
    for name in [name for name in sys.modules if name.startswith("app.logic")]:
        del sys.modules[name]
    sys.modules.update(before)


def problem() -> str:
    with pytest.raises(loading.PipelineError) as caught:
        loading.import_pipeline()
    return str(caught.value)


def test_a_pipeline_is_imported_anew_with_its_helpers(write: Callable[..., None]) -> None:
    write(COMPLETE + "from app.logic.helper import number", helper="number = 1")
    assert loading.import_pipeline().number == 1
    write(COMPLETE + "from app.logic.helper import number", helper="number = 22")
    assert loading.import_pipeline().number == 22


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(:\n", "app/logic/pipeline.py, line 1: "),
        ("\n\nx = = 1", "app/logic/pipeline.py, line 3: invalid syntax"),
        ("if True:\nx = 1", "app/logic/pipeline.py, line 2: expected an indented block"),
        ("x = 'ü'.encode('latin-1')\nopen('nowhere')", "app/logic/pipeline.py, line 2: FileNotFoundError: "),
        ("import gone", "app/logic/pipeline.py, line 1: ModuleNotFoundError: No module named 'gone'"),
        ("\nraise ValueError", "app/logic/pipeline.py, line 2: ValueError"),
        ("def f():\n    exit(3)\nf()", "app/logic/pipeline.py, line 2: SystemExit: 3"),
        ("import json\njson.loads('x')", "app/logic/pipeline.py, line 2: JSONDecodeError: "),
        ("import app.logic.helper", "app/logic/helper.py, line 2: "),
        ("def predict(m, x): pass\nload_model = 1", "missing: verify_input, load_model, process"),
        ("", "missing: verify_input, load_model, process, predict"),
        ("x = '\0'", "app/logic/pipeline.py"),
        (COMPLETE + "\nBATCHABLE = 'yes'", "app/logic/pipeline.py: BATCHABLE must be True or False, not 'yes'"),
    ],
    ids=lambda text: repr(text)[:30],
)
def test_what_is_wrong_with_a_pipeline_is_told_with_its_line(
    write: Callable[..., None], text: str, message: str
) -> None:
    write(text, helper="\nx = (")
    assert message in problem()
    write(COMPLETE)
    assert loading.import_pipeline()


def test_a_traceback_begins_in_the_users_code(write: Callable[..., None]) -> None:
    write("import app.logic.helper", helper="import json\njson.loads('x')")
    with pytest.raises(loading.PipelineError) as raised:
        loading.import_pipeline()
    lines = errors.traceback_of(raised.value).splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].endswith('app/logic/pipeline.py", line 1, in <module>')
    assert lines[-1].startswith("json.decoder.JSONDecodeError: ")
    write("x = = 1")
    with pytest.raises(loading.PipelineError) as raised:
        loading.import_pipeline()
    lines = errors.traceback_of(raised.value).splitlines()
    assert lines[0].endswith('app/logic/pipeline.py", line 1')
    assert len(lines) == 4


def test_a_missing_pipeline_is_told(write: Callable[..., None], tmp_path: Path) -> None:
    write(COMPLETE)
    (tmp_path / "app/logic/pipeline.py").unlink()
    assert "app.logic.pipeline" in problem()


class Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


class Odd(Exception):
    args = "not a tuple"  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("error", "message", "description", "arguments"),
    [
        (ValueError("no"), "no", "ValueError: no", ["no"]),
        (ValueError(), "ValueError", "ValueError", []),
        (ValueError(""), "ValueError", "ValueError", [""]),
        (KeyError("a"), "KeyError: 'a'", "KeyError: 'a'", ["a"]),
        (ValueError("a", 1, None), "('a', 1, None)", "ValueError: ('a', 1, None)", ["a", 1, None]),
        (ValueError({"a": {1}}), "{'a': {1}}", "ValueError: {'a': {1}}", ["{'a': {1}}"]),
        (ValueError("\ud800"), "\\ud800", "ValueError: \\ud800", ["'\\ud800'"]),
        (SystemExit(3), "SystemExit: 3", "SystemExit: 3", [3]),
        (KeyboardInterrupt(), "KeyboardInterrupt", "KeyboardInterrupt", []),
        (Silent("a"), "Silent", "Silent", ["a"]),
        (ValueError(Silent()), "ValueError", "ValueError", ["Silent"]),
        (Odd("a"), "a", "Odd: a", ["not a tuple"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_are_told(error: BaseException, message: str, description: str, arguments: list[Any]) -> None:
    assert errors.message_of(error) == message
    assert errors.describe(error) == description
    assert errors.result_of(error) == {"args": arguments, "type": type(error).__name__}


def module_of(**functions: Any) -> ModuleType:
    module = ModuleType("pipeline")
    vars(module).update(functions)
    return module


def test_a_stage_gets_what_the_one_before_returned() -> None:
    module = module_of(
        verify_input=lambda data: {**data, "verified": True},
        process=lambda model, data: (model, data),
        predict=lambda model, data: {"model": model, "data": data[1]},
    )
    verified = stages.verified(module, {"a": 1})
    assert stages.predictions(module, "m", verified) == {"model": "m", "data": {"a": 1, "verified": True}}


@pytest.mark.parametrize("request_data", [{}, [], 0, "", False])
def test_verify_input_must_return_something(request_data: Any) -> None:
    with pytest.raises(BadAnswer, match="end it with `return json_data`"):
        stages.verified(module_of(verify_input=lambda data: None), request_data)
    assert stages.verified(module_of(verify_input=lambda data: data), None) is None


@pytest.mark.parametrize("answer", [[], "text", None, 1, ({},)])
def test_predict_must_return_a_dictionary(answer: Any) -> None:
    with pytest.raises(BadAnswer, match=f"predict must return a dictionary, not {type(answer).__name__}"):
        stages.dumps_predictions(answer)
