"""The template as it was while the framework still lay in app/, which projects of that time are baked over with."""

from __future__ import annotations

import fnmatch
import json
import subprocess
from pathlib import Path

import pytest

from tests.support.bakery import REPOSITORY

# The last commit before the framework moved to denzel/.
COMMIT = "b9f735c4e801f6f3de2eb04b1abe8bb9f9ede498"


def earlier_template(folder: Path) -> Path:
    """Put that template into a folder, from the history of this checkout; without the history the test is skipped."""
    archive = folder / "template.tar"
    # Whoever owns the checkout: what is read from it is not run by git.
    git = ["git", "-c", "safe.directory=*", "-C", str(REPOSITORY)]
    command = [*git, "archive", f"--output={archive}", COMMIT]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this checkout has no history back to commit {COMMIT[:7]}: {done.stderr.strip()}")
    template = folder / "template"
    template.mkdir()
    subprocess.run(["tar", "--extract", f"--file={archive}", f"--directory={template}"], check=True)
    return template


def framework_of(template: Path, project: Path) -> set[str]:
    """The files of a freshly baked project that were the framework's, as paths from its folder."""
    answers = json.loads((template / "cookiecutter.json").read_text(encoding="utf-8"))
    names = {path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()}
    return {name for name in names if any(fnmatch.fnmatch(name, it) for it in answers["_copy_without_render"])}
