"""A clone on Windows, where git turns line ends around, has those of Linux in every file that is read in containers."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.bakery import REPOSITORY, bake


def git(folder: Path, home: Path, *words: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1"}
    for who in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{who}_NAME": "tester", f"GIT_{who}_EMAIL": "tester@example.com"}
    done = subprocess.run(["git", *words], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def with_carriage_returns(folder: Path, home: Path, clone: Path) -> list[str]:
    """The text files of a repository's clone, made as git for Windows makes one, that have carriage returns."""
    git(folder, home, "init", "--quiet")
    git(folder, home, "add", "--all", "--force")
    git(folder, home, "commit", "--quiet", "--message", "all")
    windows = ["-c", "core.autocrlf=true", "-c", "core.eol=crlf"]
    git(folder, home, *windows, "clone", "--quiet", str(folder), str(clone))
    names = git(clone, home, "ls-files", "-z").split("\0")
    return [name for name in names if name and b"\r\n" in (clone / name).read_bytes()]


def test_a_project_and_the_repository_keep_theirs(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    project = bake(tmp_path / "projects")
    model = project / "app/assets/model.bin"
    model.write_bytes(b"\0\n\r\n")
    turned = with_carriage_returns(project, home, tmp_path / "clone")
    assert set(turned) <= {"README.md", "app/assets/model.bin"}
    assert (tmp_path / "clone/app/assets/model.bin").read_bytes() == b"\0\n\r\n"


def test_the_repository_keeps_its_own(tmp_path: Path) -> None:
    if not (REPOSITORY / ".git").exists():
        pytest.skip("not in a clone")
    home = tmp_path / "home"
    home.mkdir()
    listed = git(
        REPOSITORY, home, "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"
    )
    for name in filter(None, listed.split("\0")):
        if (REPOSITORY / name).is_file():
            (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, tmp_path / "copy" / name)
    turned = with_carriage_returns(tmp_path / "copy", home, tmp_path / "clone")
    assert not [name for name in turned if not name.endswith((".md", ".png", ".svg", "LICENSE"))]
