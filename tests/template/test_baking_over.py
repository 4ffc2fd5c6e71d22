"""Baking over a project that is in use (`cookiecutter -f -s`): the user's files and secrets stay as they are."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from bakery import TEMPLATE, bake, rebake

from tests.template import source

EDIT = "# edited by the user\n"
KEPT = {"rendered", "user-owned"}
CHOICES = list(itertools.product(["iris", "none"], ["sync", "async"]))


def contents(project: Path) -> dict[str, bytes]:
    return {name: (project / name).read_bytes() for name in source.baked_files(project)}


@pytest.mark.parametrize("before", CHOICES, ids="-".join)
@pytest.mark.parametrize("after", CHOICES, ids="-".join)
def test_every_file_of_the_user_stays(before: tuple[str, str], after: tuple[str, str], tmp_path: Path) -> None:
    project = bake(tmp_path, example=before[0], response=before[1], description="First.")
    for name in source.baked_files(project):
        if not set(source.kinds(name)).isdisjoint(KEPT) and name != ".env":
            with (project / name).open("a", encoding="utf-8") as file:
                file.write(EDIT)
    own = ["app/logic/helpers.py", "app/assets/model.bin", "app/assets/examples/mine.json", "app/own/module.py",
           "tests/test_mine.py", "examples/notes.txt", "commands/mine.txt", "entrypoints/mine.txt", "docs/a.md",
           "docker-compose.mine.txt", ".github/workflows/mine.yml"]  # fmt: skip
    for name in own:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(EDIT)
    verbatim = set(source.of_kind("verbatim"))
    kept = {name: content for name, content in contents(project).items() if name not in verbatim}

    rebake(project, example=after[0], response=after[1], description="Second.")

    now = contents(project)
    assert {name: now.get(name) for name in kept} == kept
    assert set(now) == set(kept) | verbatim, "an example is not put in the place of a pipeline that was edited"


def test_the_frameworks_files_are_renewed(tmp_path: Path) -> None:
    project = bake(tmp_path)
    for name in source.of_kind("verbatim"):
        (project / name).write_text("old")
    rebake(project)
    for name in source.of_kind("verbatim"):
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
