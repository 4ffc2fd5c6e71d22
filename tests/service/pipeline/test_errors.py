"""What the log shows of an error of the user's code: their lines, and of libraries what helps."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import ModuleType

import pytest

from denzel.pipeline import errors
from denzel.pipeline.batch import BatchRunner


@pytest.fixture
def pipeline(tmp_path: Path) -> ModuleType:
    """A pipeline that uses pandas, in a file whose path is that of users' code."""
    file = tmp_path / "app/logic/pipeline.py"
    file.parent.mkdir(parents=True)
    file.write_text(
        "import pandas as pd\n\n\ndef predict(model, data):\n    return lookup(pd.DataFrame({'a': [1]}))\n\n\n"
        "def lookup(frame):\n    return frame['missing']\n\n\n"
        "def deep(number):\n    return deep(number + 1)\n\n\n"
        "def translated():\n    try:\n        {}['x']\n    except KeyError as error:\n"
        "        raise ValueError('no x') from error\n"
    )
    module = ModuleType("pipeline")
    exec(compile(file.read_text(), str(file), "exec"), module.__dict__)
    return module


def shown(function: object, *arguments: object) -> list[str]:
    try:
        function(*arguments)  # type: ignore[operator]
    except Exception as error:
        return errors.traceback_of(error).splitlines()
    raise AssertionError("it raised nothing")


def test_of_a_library_one_line_is_shown_and_every_line_of_the_users(pipeline: ModuleType) -> None:
    lines = shown(pipeline.predict, None, None)
    assert len(lines) < 20, "\n".join(lines)
    text = "\n".join(lines)
    assert "in predict" in text
    assert "frame['missing']" in text or "in lookup" in text
    assert "calls in pandas, the last one in" in text
    assert lines[-1] == "KeyError: 'missing'"


def test_a_deep_recursion_of_the_users_is_short(pipeline: ModuleType) -> None:
    lines = shown(pipeline.deep, 0)
    assert len(lines) < 20
    assert any("Previous line repeated" in line for line in lines)


def test_an_error_that_came_from_another_is_shown_with_it(pipeline: ModuleType) -> None:
    text = "\n".join(shown(pipeline.translated))
    assert text.index("KeyError: 'x'") < text.index("From that came:") < text.index("ValueError: no x")


def test_nothing_is_folded_for_debugging(pipeline: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "denzel")
    assert "calls in pandas" not in "\n".join(shown(pipeline.predict, None, None))


def test_the_log_names_the_task_that_failed(pipeline: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    runner = BatchRunner(pipeline, None, max_ids=512, call=lambda module, model, data: module.predict(model, data))
    [call] = runner.calls([b"{}"], ["id-1"])
    [[(status, _, _)]] = list(runner.parts(call))
    assert status == "FAILURE"
    assert caplog.messages[0].startswith("Task id-1 failed: KeyError: 'missing'\nTraceback (most recent call last):\n")
    assert sys.exc_info() == (None, None, None)
