"""The template's files, sorted into their three kinds.

- *verbatim*: the framework's; copied as they are, and replaced when a project is baked over.
- *rendered*: written once, with the answers in them.
- *user-owned*: written once, and never looked at by Jinja for anything: they hold none.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.support.bakery import REPOSITORY, TEMPLATE

COOKIECUTTER_JSON = json.loads((REPOSITORY / "cookiecutter.json").read_text(encoding="utf-8"))
VERBATIM: list[str] = COOKIECUTTER_JSON["_copy_without_render"]

# Every variable that a rendered file may hold, and the only form of it.
RENDERED = {
    ".env": {"project_slug"},
    "README.md": {"__title", "description", "project_slug"},
    "app/assets/info.txt": {"__title", "description", "__interface"},
}

USER_OWNED = [
    ".dockerignore",
    ".gitattributes",
    ".gitignore",
    "app/assets/examples/*",
    "app/logic/*",
    "ci/github/ruff.toml",
    "examples/*",
    "keys/.gitkeep",
    "logs/.gitkeep",
    "proxy/nginx.conf",
    "redis-data/.gitignore",
    "pytest.ini",
    "requirements-build.sh",
    "requirements.sh",
    "requirements.txt",
    "tests/*",
]

# The folders whose files the post-generation hook puts in place, by the answer that asks for them.
STAGING = {"iris": "examples/iris", "regression": "examples/regression", "github": "ci/github"}

# What the hook writes beside the template's files.
WRITTEN = {".env.example"}


# What tools leave behind: it would be baked, and a test of its own says so.
LEAVINGS = {"__pycache__", ".denzel", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".venv"}


def everything() -> list[Path]:
    """Return every file and folder below the template's folder, as a path from there."""
    return sorted(path.relative_to(TEMPLATE) for path in TEMPLATE.rglob("*"))


def template_files() -> list[str]:
    """Return every file of the template, as a path from its folder."""
    found = [path for path in everything() if LEAVINGS.isdisjoint(path.parts)]
    return [path.as_posix() for path in found if (TEMPLATE / path).is_file()]


def template_folders() -> list[str]:
    """Return every folder of the template, as a path from it."""
    found = [path for path in everything() if LEAVINGS.isdisjoint(path.parts)]
    return [path.as_posix() for path in found if (TEMPLATE / path).is_dir()]


def matches(name: str, patterns: list[str]) -> bool:
    """Match as Cookiecutter does: a `*` crosses slashes."""
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def kinds(name: str) -> list[str]:
    """Return the kinds that a file belongs to; there should be exactly one."""
    found = {
        "verbatim": matches(name, VERBATIM),
        "rendered": name in RENDERED,
        "user-owned": matches(name, USER_OWNED),
    }
    return [kind for kind, belongs in found.items() if belongs]


def of_kind(kind: str) -> list[str]:
    return [name for name in template_files() if kinds(name) == [kind]]


def staged(name: str) -> bool:
    """Say whether a file of the template only travels through a staging folder."""
    return name.startswith(tuple(f"{folder}/" for folder in STAGING.values()))


def placed(answers: Iterable[Any]) -> dict[str, str]:
    """Return the files that these answers put in place: their place, and where they lie in the template."""
    folders = [STAGING[answer] for answer in answers if answer in STAGING]
    return {
        name.removeprefix(f"{folder}/"): name
        for folder in folders
        for name in template_files()
        if name.startswith(f"{folder}/")
    }


def framework_files() -> list[str]:
    """Return the files of a project that baking over it renews."""
    return [name for name in of_kind("verbatim") if not staged(name)]


def baked_files(project: Path) -> set[str]:
    """Return every file of a project, as a path from its folder."""
    return {path.relative_to(project).as_posix() for path in project.rglob("*") if not path.is_dir()}
