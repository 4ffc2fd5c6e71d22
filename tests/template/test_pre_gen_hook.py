"""The check of the answers, as a module."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.template import hooks, options

pre_gen = hooks.load("pre_gen_project")

GOOD = {
    "project_name": "Iris Classifier",
    "project_slug": "iris_classifier",
    "description": "Tells the species of an iris.",
    "response": "sync",
    "gpu": False,
    "broker": "redis",
    "stack": "basic",
    "example": "iris",
    "ci": "github",
}


def problems(**answers: Any) -> list[str]:
    return list(pre_gen.problems(GOOD | answers))


def test_good_answers_have_no_problems() -> None:
    assert problems() == []


@pytest.mark.parametrize("slug", ["iris", "iris_classifier", "iris-2", "i", "a__b", "a--b", "x" * 40])
def test_slugs_that_can_name_a_folder_an_image_and_containers(slug: str) -> None:
    assert problems(project_slug=slug) == []


@pytest.mark.parametrize(
    "slug",
    ["", " ", "Iris", "2iris", "_iris", "iris_", "iris-", "a___b", "a_-b", "a b", "a/b", "..", ".", "/tmp/iris", "a.b",
     "iris\n", "íris", "$(id)", "x" * 41],
)  # fmt: skip
def test_slugs_that_cannot(slug: str) -> None:
    (problem,) = problems(project_slug=slug)
    assert problem.startswith("project_slug: ")


@pytest.mark.parametrize("name", ['Bob\'s "Iris"', "a\\", "Ирис 🌸", "two\nlines", "{{ 7 * 7 }}", "__import__('os')"])
def test_names_and_descriptions_are_free_text(name: str) -> None:
    assert problems(project_name=name, description=name) == []


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_empty_texts(text: str) -> None:
    assert problems(project_name=text) == ["project_name: it is empty. Say it in a few words."]
    assert problems(description=text) == ["description: it is empty. Say it in a few words."]


def test_texts_with_control_characters() -> None:
    assert problems(description="a\x00b\x1b") == [
        "description: it holds characters that cannot be printed: '\\x00', '\\x1b'."
    ]


def test_texts_that_are_too_long() -> None:
    assert problems(project_name="x" * 101) == ["project_name: 101 characters are too many; at most 100."]


def test_choices_that_a_replay_file_may_hold() -> None:
    assert problems(response="later") == ["response: 'later' is not one of: sync, async."]
    assert problems(gpu="maybe") == ["gpu: 'maybe' is not one of: True, False."]


def test_every_problem_is_named_at_once() -> None:
    found = problems(
        project_name="", project_slug="A b", description="\x07", response="x", gpu="x", broker="x", stack="x",
        example="x", ci="x",
    )  # fmt: skip
    assert [problem.split(":")[0] for problem in found] == [
        "project_name", "description", "project_slug", "response", "gpu", "broker", "stack", "example", "ci",
    ]  # fmt: skip


def test_the_choices_are_those_of_cookiecutter_json() -> None:
    assert {key: set(values) for key, values in pre_gen.CHOICES.items()} == {
        key: set(values) for key, values in options.CHOICES.items()
    }


def test_a_folder_of_the_user_in_the_way(tmp_path: Path) -> None:
    assert list(pre_gen.folder_problems(tmp_path)) == []
    (tmp_path / "examples" / "iris").mkdir(parents=True)
    (problem,) = pre_gen.folder_problems(tmp_path)
    assert "examples/iris is in the way" in problem


EVIL = [
    "'''", '"""', "\\", "'", "\n", "'''; raise SystemExit('executed') #", "{{ 7 * 7 }}", "</script>", "\u2028", "🌸",
]  # fmt: skip


@pytest.mark.parametrize("hook", ["pre_gen_project", "post_gen_project"])
@pytest.mark.parametrize("evil", EVIL)
def test_answers_enter_the_hooks_as_data(hook: str, evil: str, tmp_path: Path) -> None:
    module = hooks.rendered(hook, GOOD | {"description": evil}, tmp_path)
    assert json.loads(module.ANSWERS)["description"] == evil
