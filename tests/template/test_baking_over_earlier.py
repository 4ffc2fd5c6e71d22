"""Baking over a project of the time when the framework lay in app/: the framework moves, and nothing of the user's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.bakery import TEMPLATE, bake, rebake
from tests.support.earlier import earlier_template, framework_of
from tests.template import source

EDIT = "# edited by the user\n"
OWN = (
    "app/own.py",
    "app/package/module.py",
    "app/logic/helpers.py",
    "app/assets/model.bin",
    "app/assets/examples/mine.json",
    "tests/test_mine.py",
    "commands/mine.txt",
    "docker-compose.mine.yml",
    "notes/store.py",
)
SETTINGS = {"API_PORT": "8123", "WORKER_CONCURRENCY": "3", "CALLBACK_ALLOW": "receiver.example"}


def read(project: Path) -> dict[str, bytes]:
    """Every file of a project, by its path from there."""
    return {name: (project / name).read_bytes() for name in source.baked_files(project)}


def use(project: Path, framework: set[str]) -> None:
    """Do what users do: edit every file of theirs, add some, set what .env holds, run the code."""
    for name in source.baked_files(project) - framework - {".env"}:
        with (project / name).open("a", encoding="utf-8") as file:
            file.write(EDIT)
    for name in OWN:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(EDIT)
    lines = (project / ".env").read_text().splitlines()
    names = [line.partition("=")[0] for line in lines]
    assert set(names) >= set(SETTINGS)
    lines = [f"{name}={SETTINGS[name]}" if name in SETTINGS else line for name, line in zip(names, lines, strict=True)]
    (project / ".env").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("example", ["iris", "none"])
def test_the_framework_leaves_app_and_every_file_of_the_user_stays(example: str, tmp_path: Path) -> None:
    template = earlier_template(tmp_path)
    project = bake(tmp_path, template=template, project_slug="in_use", example=example)
    framework = framework_of(template, project)
    in_app = {name for name in framework if name.startswith("app/")}
    assert len(in_app) > 30
    assert "app/store.py" in in_app
    use(project, framework)
    before = read(project)

    rebake(project, example=example)

    now = read(project)
    gone = before.keys() - now.keys()
    renewed = set(source.framework_files())
    assert gone == framework - renewed - {".env"}, "all that the framework has left behind, and nothing of the user's"
    assert {name for name in gone if name.startswith("app/")} == in_app - {"app/__init__.py"}
    users = before.keys() - framework - {".env"}
    assert {name: now[name] for name in users} == {name: before[name] for name in users}
    old, new = before[".env"].decode().splitlines(), now[".env"].decode().splitlines()
    assert new[: len(old)] == old
    assert set(os.listdir(project / "app")) == {"__init__.py", "logic", "assets", "own.py", "package"}
    for name in source.framework_files():
        if name != "requirements-test.txt":  # it names the template's own place
            assert now[name] == (TEMPLATE / name).read_bytes(), name
