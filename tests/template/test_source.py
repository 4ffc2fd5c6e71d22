"""The rules of the template's own files."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.bakery import REPOSITORY, TEMPLATE
from tests.template import layers, source

EXPRESSION = re.compile(r"\{\{.*?\}\}", re.DOTALL)
PLAIN_VARIABLE = re.compile(r"\{\{ cookiecutter\.(\w+) \}\}")
HELP = "Say what it is in tests/template/source.py, or in _copy_without_render of cookiecutter.json."


def text(name: str) -> str:
    return (TEMPLATE / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", source.template_files())
def test_every_file_is_of_exactly_one_kind(name: str) -> None:
    assert len(source.kinds(name)) == 1, f"{name} is {source.kinds(name) or 'of no kind'}. {HELP}"


@pytest.mark.parametrize("name", source.template_files())
def test_no_file_has_jinja_blocks(name: str) -> None:
    assert "{%" not in text(name), "options are a matter of .env, compose overrides and the post-generation hook"


@pytest.mark.parametrize("name", source.of_kind("user-owned"))
def test_user_owned_files_hold_no_jinja(name: str) -> None:
    for opening in ("{{", "{%", "{#"):
        assert opening not in text(name)


@pytest.mark.parametrize("name", source.of_kind("verbatim"))
def test_verbatim_files_do_not_expect_to_be_rendered(name: str) -> None:
    assert "cookiecutter." not in text(name)


@pytest.mark.parametrize("name", sorted(source.RENDERED))
def test_rendered_files_hold_known_variables_and_nothing_else(name: str) -> None:
    expressions = EXPRESSION.findall(text(name))
    variables = {match[1] for match in map(PLAIN_VARIABLE.fullmatch, expressions) if match}
    assert variables == source.RENDERED[name]
    assert all(PLAIN_VARIABLE.fullmatch(expression) for expression in expressions)
    assert "{#" not in text(name)


@pytest.mark.parametrize("pattern", source.VERBATIM)
def test_every_verbatim_pattern_names_files_and_no_folder(pattern: str) -> None:
    """Cookiecutter deletes a folder that a pattern matches, and all that users have put into it."""
    assert any(source.matches(name, [pattern]) for name in source.template_files()), "it matches no file"
    assert not [name for name in source.template_folders() if source.matches(name, [pattern])]


def test_names_hold_no_jinja() -> None:
    assert not [name for name in source.template_files() + source.template_folders() if "{" in name]


def test_no_leavings_lie_in_the_template() -> None:
    """Whatever lies in the template's folder is baked: remove what a tool has left there."""
    assert not [path.as_posix() for path in source.everything() if path.name in source.LEAVINGS]


@pytest.mark.parametrize("name", [name for name in source.template_files() if name.endswith(".py")])
def test_python_files_parse_where_they_are(name: str) -> None:
    ast.parse(text(name), name, feature_version=(3, 10))


@pytest.mark.parametrize("name", [name for name in source.template_files() if name.endswith(".json")])
def test_json_files_parse_where_they_are(name: str) -> None:
    json.loads(text(name))


@pytest.mark.parametrize("name", [name for name in source.template_files() if name.endswith((".yml", ".yaml"))])
def test_yaml_files_parse_where_they_are(name: str) -> None:
    assert yaml.safe_load(text(name))


@pytest.mark.parametrize("name", [name for name in source.template_files() if name.endswith(".sh")])
def test_shell_files_are_executable_and_say_for_which_shell(name: str) -> None:
    assert os.access(TEMPLATE / name, os.X_OK)
    assert text(name).startswith("#!")


def test_importing_a_pipeline_imports_nothing_of_the_framework() -> None:
    code = "import sys, app.logic.pipeline; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=TEMPLATE, capture_output=True, text=True, check=True)
    ours = [name for name in done.stdout.split() if name.split(".")[0] in ("app", "commands", "denzel")]
    assert ours == ["app", "app.logic", "app.logic.pipeline"]


def test_the_commands_need_the_standard_library_alone() -> None:
    allowed = sys.stdlib_module_names | {"commands"}
    shared = set(layers.STANDARD_LIBRARY_ALONE)  # which the commands read too
    files = [TEMPLATE / f"{name.replace('.', '/')}.py" for name in sorted(shared)]
    in_venv = {"load.py"}  # a program of its own, which make bench starts with the .venv's Python
    for path in [*files, *sorted((TEMPLATE / "commands").rglob("*.py"))]:
        if path.name in in_venv:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names += (
                    [f"denzel.{alias.name}" for alias in node.names] if node.module == "denzel" else [node.module or ""]
                )
            others = {name for name in names if name.split(".")[0] not in allowed}
            assert others <= shared, f"{path.name}, line {node.lineno}"


MODULES = sorted({*(TEMPLATE / "denzel").rglob("*.py"), *(TEMPLATE / "commands").rglob("*.py"),
                  *(REPOSITORY / "pytest_denzel").rglob("*.py")})  # fmt: skip


@pytest.mark.parametrize("path", MODULES, ids=lambda path: "/".join(path.parts[-3:]))
def test_modules_and_functions_are_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, node.name


def test_cookiecutter_json_asks_in_human_words() -> None:
    questions = source.COOKIECUTTER_JSON["__prompts__"]
    asked = {key: value for key, value in source.COOKIECUTTER_JSON.items() if not key.startswith("_")}
    assert questions.keys() == asked.keys()
    for key, value in asked.items():
        if isinstance(value, list):
            assert set(questions[key]) == {"__prompt__", *value}
        else:  # a text, or yes or no
            assert isinstance(questions[key], str)


@pytest.mark.parametrize("name", ["README.md", "tox.ini", "Makefile"])
def test_documented_answers_are_known(name: str) -> None:
    """Cookiecutter ignores an answer to a question that it does not ask."""
    known = {key for key in source.COOKIECUTTER_JSON if not key.startswith("_")}
    for line in (REPOSITORY / name).read_text(encoding="utf-8").splitlines():
        if re.search(r"\bcookiecutter (?!is|does)", line):
            assert set(re.findall(r"\b([a-z_]+)=", line)) <= known, line
