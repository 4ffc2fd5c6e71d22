"""The reference leaves nothing out, and tells of nothing that there is not."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest

from tests.docs.conftest import DOCS
from tests.support.bakery import REPOSITORY, TEMPLATE


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    """The module that makes the tables."""
    sys.path.insert(0, str(DOCS / "_source"))
    try:
        import tables
    finally:
        sys.path.pop(0)
    return tables


@pytest.fixture(scope="module")
def framework(monkeypatch_module: pytest.MonkeyPatch) -> None:
    """Imports find the framework's modules."""
    monkeypatch_module.syspath_prepend(str(TEMPLATE))


@pytest.fixture(scope="module")
def monkeypatch_module() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def text(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def source(folder: str) -> str:
    return "".join(path.read_text(encoding="utf-8") for path in sorted((TEMPLATE / folder).rglob("*.py")))


def test_every_setting_is_in_the_reference(tables: ModuleType, framework: None) -> None:
    from denzel import settings

    told = set(tables.setting_names()) | set(re.findall(r"^\| `([A-Z_]+)` \|", text("reference/settings.md"), re.M))
    assert {field.name.upper() for field in fields(settings.Settings)} - told == set()
    made = tables.settings()
    assert [name for name in tables.setting_names() if f"`{name}`" not in made] == []


def test_every_setting_is_explained(tables: ModuleType) -> None:
    assert [row for row in tables.settings().splitlines() if re.search(r"\|\s*\|$", row) and "Setting" not in row] == []


def test_settings_without_a_line_have_the_default_of_the_source(framework: None) -> None:
    from denzel import settings

    rows = re.findall(r"^\| `([A-Z_]+)` \| `([^`]*)` \|", text("reference/settings.md"), re.M)
    assert len(rows) == 6  # and three without a default
    assert dict(rows) == {name: settings._TABLE[name.lower()][0] for name, _ in rows}


def test_every_make_target_is_in_the_reference(tables: ModuleType) -> None:
    targets = re.findall(r"^([a-z0-9-]+): ## ", (TEMPLATE / "Makefile").read_text(encoding="utf-8"), re.M)
    assert [name for _, rows in tables.command_groups() for name, _, _ in rows] == targets


def test_every_path_is_in_the_reference(framework: None) -> None:
    from denzel.api.application import PATHS

    page = text("reference/http.md")
    assert [path for path in PATHS if path.split("{")[0].rstrip("/") not in page] == []


def test_every_title_of_an_error_is_in_the_reference() -> None:
    titles = set(re.findall(r'title="([^"]+)"', source("denzel/api")))
    titles |= set(re.findall(r'title, description = (?:\(\n\s*)?"([^"]+)"', source("denzel/api")))
    titles |= set(re.findall(r'"title": "([^"]+)"', source("denzel/api") + source("denzel/server")))
    titles |= set(re.findall(r'_refuse\(\d+, "([^"]+)"', source("denzel/server")))
    told = set(re.findall(r"^\| \d+ \| `([^`]+)` \|", text("reference/http.md"), re.M))
    assert len(told) > 15
    assert titles == told


def test_every_header_is_in_the_reference() -> None:
    headers = set(re.findall(r'"((?:Denzel|Idempotency|Prefer|Preference|Retry)[A-Za-z-]*)"', source("denzel/api")))
    headers -= {"Denzel-Sync-Timeout", "Denzel-Reloads"}  # of /ready and /ping, for the commands
    assert {name for name in headers if f"| `{name}` |" not in text("reference/http.md")} == set()


def test_every_metric_is_in_the_reference(tables: ModuleType) -> None:
    names = set(re.findall(r'"(denzel_[a-z_]+)"', source("denzel/metrics")))
    assert names == {name for name, _ in tables.metric_families()}


def test_badges_are_true() -> None:
    metadata = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    for line, badge in ((r'requires-python = ">=([\d.]+)"', "python.svg"), (r'license = "(\w+)"', "licence.svg")):
        assert re.search(rf">{re.search(line, metadata)[1]}\+?<", (DOCS / "_static" / badge).read_text())  # type: ignore[index]
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", readme)
    assert len(pictures) >= 4
    assert [name for name in pictures if not Path(REPOSITORY / name).exists()] == []


def test_denzels_commands_are_all_told() -> None:
    page = text("from_denzel.md")
    for command in (
        "startproject", "launch", "start", "stop", "restart", "shutdown", "status", "logs", "logworker", "shell",
        "updatepipreqs", "updateosreqs", "updatereqs", "response",
    ):  # fmt: skip
        assert re.search(rf"denzel [^|]*{command}|`{command}`", page), command
