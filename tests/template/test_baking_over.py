"""Baking over a project that is in use (`cookiecutter -f -s`): the user's files and secrets stay as they are."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.support.bakery import TEMPLATE, bake, rebake
from tests.template import options, source

EDIT = "# edited by the user\n"


def differ(answers: options.Answers) -> set[str]:
    """Return the options in which these answers are not the defaults."""
    return {key for key, value in answers.items() if value != DEFAULTS[key]}


def varied(option: str) -> list[options.Answers]:
    """Return the defaults with each choice of an option."""
    return [DEFAULTS | {option: choice} for choice in options.CHOICES[option]]


DEFAULTS = options.combinations()[0]
EVERYTHING_ELSE = options.combinations()[-1]
# What an example and the response mode do to each other; every other option switched on and off; all at once.
CHANGES = [
    *itertools.product(
        [answers for answers in options.combinations() if differ(answers) <= {"example", "response"}], repeat=2
    ),
    *[pair for option in ("gpu", "broker", "stack", "ci") for pair in itertools.permutations(varied(option))],
    (DEFAULTS, EVERYTHING_ELSE),
    (EVERYTHING_ELSE, DEFAULTS),
]


def contents(project: Path) -> dict[str, bytes]:
    return {name: (project / name).read_bytes() for name in source.baked_files(project)}


@pytest.mark.parametrize(("before", "after"), CHANGES, ids=lambda answers: options.name(answers))
def test_every_file_of_the_user_stays(before: options.Answers, after: options.Answers, tmp_path: Path) -> None:
    project = bake(tmp_path, **before, description="First.")
    framework = set(source.framework_files())
    for name in source.baked_files(project) - framework - {".env"}:
        with (project / name).open("a", encoding="utf-8") as file:
            file.write(EDIT)
    own = ["app/logic/helpers.py", "app/assets/model.bin", "app/assets/examples/mine.json", "app/own/module.py",
           "tests/test_mine.py", "examples/notes.txt", "commands/mine.txt", "entrypoints/mine.txt", "docs/a.md",
           "docker-compose.mine.txt", "proxy/fullchain.pem", "ci/notes.txt", ".github/workflows/mine.yml"]  # fmt: skip
    for name in own:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(EDIT)
    kept = {name: content for name, content in contents(project).items() if name not in framework}

    rebake(project, **after, description="Second.")

    now = contents(project)
    assert {name: now.get(name) for name in kept} == kept
    workflow = {".github/workflows/ci.yml", "ruff.toml"} if after["ci"] == "github" else set()
    assert set(now) == set(kept) | framework | workflow, (
        "an example is not put in the place of a pipeline that was edited"
    )


def test_the_frameworks_files_are_renewed(tmp_path: Path) -> None:
    project = bake(tmp_path)
    for name in source.framework_files():
        (project / name).write_text("old")
    rebake(project)
    for name in source.framework_files():
        if name == "requirements-test.txt":
            assert "pytest-denzel[docker] @ file://" in (project / name).read_text()
        else:
            assert (project / name).read_bytes() == (TEMPLATE / name).read_bytes()


def test_baking_over_an_untouched_project_changes_nothing(tmp_path: Path) -> None:
    project = bake(tmp_path)
    before = contents(project)
    rebake(project)
    assert contents(project) == before
    assert (project / ".env").stat().st_mode & 0o777 == 0o600


def test_the_example_can_be_had_later_while_the_skeleton_is_untouched(tmp_path: Path) -> None:
    project = bake(tmp_path, example="none")
    rebake(project, example="iris")
    for name in source.template_files():
        if name.startswith("examples/iris/"):
            target = project / name.removeprefix("examples/iris/")
            assert target.read_bytes() == (TEMPLATE / name).read_bytes()


def test_the_example_stays_when_the_skeleton_is_baked_over_it(tmp_path: Path) -> None:
    project = bake(tmp_path, example="iris")
    before = contents(project)
    rebake(project, example="none")
    assert contents(project) == before


def test_the_user_is_told_that_the_example_was_left_out(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    project = bake(tmp_path, example="none")
    (project / "app/logic/pipeline.py").write_text(EDIT)
    rebake(project, example="iris")
    assert "app/logic/pipeline.py is your own: the example was not put in its place." in capfd.readouterr().out


def test_the_workflow_can_be_had_later(tmp_path: Path) -> None:
    project = bake(tmp_path, ci="none")
    rebake(project, ci="github")
    placed = (TEMPLATE / "ci/github/.github/workflows/ci.yml").read_bytes()
    assert (project / ".github/workflows/ci.yml").read_bytes() == placed
    assert not (project / "ci").exists()


def test_a_module_of_the_user_may_be_called_as_the_frameworks_once_were(tmp_path: Path) -> None:
    """Those lay in app/ before there was a denzel/, and baking over a project of that time removes them."""
    project = bake(tmp_path)
    for name in ("store", "api", "settings"):
        (project / f"app/{name}.py").write_text(EDIT)
    before = contents(project)
    rebake(project)
    assert contents(project) == before


def test_an_env_in_use_never_becomes_an_example(tmp_path: Path) -> None:
    """It may hold secrets that the template does not know."""
    project = bake(tmp_path)
    (project / ".env.example").unlink()
    rebake(project)
    assert not (project / ".env.example").exists()


def test_settings_that_a_newer_template_brings_are_added_and_the_others_stay(tmp_path: Path) -> None:
    project = bake(tmp_path)
    lines = (project / ".env").read_text().splitlines()
    older = [line for line in lines if not line.startswith(("MONITOR_PASSWORD=", "SYNC_TIMEOUT="))]
    (project / ".env").write_text("\n".join(older) + "\n")
    rebake(project, response="async")
    now = (project / ".env").read_text().splitlines()
    assert now[: len(older)] == older
    assert [line.split("=")[0] for line in now[len(older) :]] == ["MONITOR_PASSWORD", "SYNC_TIMEOUT"]


def test_a_folder_of_the_user_with_the_examples_name_stops_the_bake(tmp_path: Path) -> None:
    project = bake(tmp_path)
    (project / "examples/iris").mkdir(parents=True)
    (project / "examples/iris/mine.txt").write_text(EDIT)
    before = contents(project)
    with pytest.raises(Exception, match="Hook script failed"):
        rebake(project)
    assert contents(project) == before
