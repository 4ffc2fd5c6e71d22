"""What counts as an edit of a project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from commands.local.dev_edits import Watch
from denzel.edits import Edits


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for folder in ("app/logic/__pycache__", "app/assets/examples"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "app/logic/pipeline.py").write_text("1")
    return tmp_path


def touch(project: Path, *paths: str) -> None:
    for path in paths:
        (project / path).parent.mkdir(exist_ok=True)
        (project / path).write_text((project / path).read_text() + "x" if (project / path).exists() else "x")


def test_code_and_assets_count(project: Path) -> None:
    edits = Edits(project)
    assert edits.look() == []
    touch(project, "app/logic/pipeline.py", "app/logic/helper.py", "app/assets/model.pkl")
    assert edits.look() == ["app/assets/model.pkl", "app/logic/helper.py", "app/logic/pipeline.py"]
    assert edits.look() == []
    (project / "app/logic/helper.py").unlink()
    os.utime(project / "app/logic/pipeline.py", ns=(1, 1))  # an older version put back
    assert edits.look() == ["app/logic/helper.py", "app/logic/pipeline.py"]


def test_data_and_models_are_code(project: Path) -> None:
    edits = Edits(project)
    touch(project, "app/model/regressors.py", "app/data/connector.py", "app/training.py")
    assert edits.look() == ["app/data/connector.py", "app/model/regressors.py"]
    touch(project, "app/model/regressors.py")
    assert edits.in_code()


def test_what_editors_and_python_leave_does_not(project: Path) -> None:
    edits = Edits(project)
    touch(project, "app/logic/.pipeline.py.swp", "app/logic/pipeline.py~", "app/logic/#pipeline.py#")
    touch(project, "app/logic/__pycache__/pipeline.pyc", "app/assets/examples/one.json", "app/assets/.DS_Store")
    touch(project, "app/other.py")
    assert edits.look() == []


def test_an_edit_is_told_of_when_it_is_complete(project: Path) -> None:
    watch = Watch(Edits(project))
    for _ in range(3):  # a large file is being written
        touch(project, "app/assets/model.pkl")
        assert watch.look() == []
    assert watch.look() == ["app/assets/model.pkl"]
    assert watch.look() == []


def test_what_the_service_writes_itself_does_not_restart_it_for_ever(project: Path) -> None:
    watch = Watch(Edits(project))
    told = 0
    for _ in range(10):
        touch(project, "app/assets/cache.db")
        watch.look()
        told += bool(watch.look())
    assert told == 2
    assert watch.ignored == "app/assets/cache.db"
    touch(project, "app/logic/pipeline.py")
    assert [watch.look(), watch.look()] == [[], ["app/logic/pipeline.py"]]


def test_waiting_ends_with_an_edit(project: Path) -> None:
    edits = Edits(project)
    assert edits.wait(0.01) is False
    touch(project, "app/logic/pipeline.py")
    assert edits.wait(60) is True
