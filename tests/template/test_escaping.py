"""Answers are data: whatever is typed ends up as that text, in its place, and is never run."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from tests.support.bakery import bake
from tests.template import source
from tests.template.cli import cookiecutter

MARK = "executed"
PYTHON = f"'''\nimport pathlib; pathlib.Path('{MARK}').touch()\n'''"
NASTY = {
    "quotes": """it's "quoted" `here` and '''there''' and \"\"\"there\"\"\"""",
    "newlines": "first\nREDIS_PASSWORD=stolen\nthird",
    "backslashes": "C:\\new\\table \\",
    "python": PYTHON,
    "shell": f"$(touch {MARK}) `touch {MARK}` ; touch {MARK} & ${{HOME}} $HOME %PATH%",
    "make": f"$(shell touch {MARK})",
    "markup": "<script>alert(1)</script> & [a](b) | # *x*",
    "unicode": "Größe 花 \U0001f338",
}


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
def test_a_description_stays_text(text: str, tmp_path: Path) -> None:
    project = bake(tmp_path, project_slug="nasty", description=text)
    assert f"\n\n{text}\n\n" in (project / "app/assets/info.txt").read_text(encoding="utf-8")
    assert f"\n\n{text}\n\n" in (project / "README.md").read_text(encoding="utf-8")
    check(project, tmp_path)


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
def test_a_name_stays_text_on_one_line(text: str, tmp_path: Path) -> None:
    project = bake(tmp_path, project_slug="nasty", project_name=text[:100])
    line = " ".join(text[:100].split())
    assert (project / "app/assets/info.txt").read_text(encoding="utf-8").splitlines()[0] == line
    assert (project / "README.md").read_text(encoding="utf-8").splitlines()[0] == f"# {line}"
    check(project, tmp_path)


def check(project: Path, folder: Path) -> None:
    """Nothing was run, .env holds nothing of the text, and all that is read by programs can be read."""
    assert not list(folder.rglob(MARK))
    assert "stolen" not in (project / ".env").read_text(encoding="utf-8")
    for path in project.rglob("*.py"):
        ast.parse(path.read_text(encoding="utf-8"))
    for path in project.rglob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))


def test_braces_typed_at_a_prompt_stay_text(tmp_path: Path) -> None:
    answers = [
        "{{ 7 * 7 }} {% raw %}",
        "braces",
        "{{ cookiecutter.project_slug }} {# gone? #}",
        "1",
        "n",
        "1",
        "1",
        "1",
        "1",
    ]
    done = cookiecutter(folder=tmp_path, typed="\n".join(answers) + "\n")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (tmp_path / "braces/app/assets/info.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0] == answers[0]
    assert lines[2] == answers[2]


def test_braces_on_the_command_line_become_text_too(tmp_path: Path) -> None:
    """Cookiecutter renders what is given there; it is text all the same."""
    project = bake(tmp_path, description="{{ 7 * 7 }} is the answer")
    assert (project / "app/assets/info.txt").read_text(encoding="utf-8").splitlines()[2] == "49 is the answer"


def test_no_variable_is_left_over(iris: Path) -> None:
    for name in source.baked_files(iris):
        assert "{{ cookiecutter" not in (iris / name).read_text(encoding="utf-8"), name
