"""What the documents promise exists: commands, variables, files and links."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from tests.support import markdown
from tests.support.bakery import REPOSITORY, TEMPLATE

DOCUMENTS = [*sorted(REPOSITORY.glob("*.md")), *sorted(REPOSITORY.glob("docs/**/*.md")), TEMPLATE / "README.md"]
IDS = [path.relative_to(REPOSITORY).as_posix() for path in DOCUMENTS]

TARGET = re.compile(r"^([a-z0-9-]+):.*## ", re.MULTILINE)
# `make launch API_PORT=8000` in text or in a block; "make" as a word of English is followed by no target
CALL = re.compile(r"(?:^|`|\| )make ([a-z0-9-]+)((?: \[?[A-Z_]+=[^\s`]*)*)", re.MULTILINE)


def targets(makefile: Path) -> set[str]:
    return set(TARGET.findall(makefile.read_text(encoding="utf-8")))


KNOWN = targets(REPOSITORY / "Makefile") | targets(TEMPLATE / "Makefile")


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_every_make_command_exists_and_takes_its_variables(path: Path) -> None:
    makefiles = "".join((folder / "Makefile").read_text(encoding="utf-8") for folder in (REPOSITORY, TEMPLATE))
    for target, variables in CALL.findall(path.read_text(encoding="utf-8")):
        assert target in KNOWN, f"make {target}"
        for variable in re.findall(r"[A-Z_]+(?==)", variables):
            assert variable in makefiles, f"make {target} {variable}="


@pytest.mark.parametrize("makefile", [REPOSITORY / "Makefile", TEMPLATE / "Makefile"], ids=["template", "project"])
def test_every_command_is_documented(makefile: Path) -> None:
    readme = (makefile.parent / "README.md").read_text(encoding="utf-8")
    contributing = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    undocumented = {name for name in targets(makefile) if not re.search(rf"\b{name}\b", readme + contributing)}
    assert undocumented - {"help", "clean"} == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("#"):
            assert link[1:] in anchors, link
        elif "://" not in link:
            assert (path.parent / link.split("#")[0]).exists(), link


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_blocks_of_json_and_python_are_valid(path: Path) -> None:
    for block in markdown.blocks(path):
        if block.language == "json":
            json.loads(block.text)
        elif block.language == "python":
            ast.parse(block.text)


def test_every_setting_that_the_readme_names_is_in_env() -> None:
    names = set(re.findall(r"`([A-Z]+_[A-Z_]+)`", (TEMPLATE / "README.md").read_text(encoding="utf-8")))
    env = (TEMPLATE / ".env").read_text(encoding="utf-8")
    assert [name for name in sorted(names) if f"\n{name}=" not in env] == []


def test_settings_tables_tell_the_default_that_env_has() -> None:
    env = dict(re.findall(r"^([A-Z_]+)=(.*)$", (TEMPLATE / ".env").read_text(encoding="utf-8"), re.MULTILINE))
    for names, defaults in re.findall(
        r"^\| ((?:`[A-Z_]+`(?:, )?)+) \| ([^|]*) \|", (TEMPLATE / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    ):
        told = [default.strip() for default in defaults.split(",")]
        assert told == [env[name] for name in re.findall("[A-Z_]+", names)], names


def test_tox_runs_every_level_of_tests() -> None:
    tox = (REPOSITORY / "tox.ini").read_text(encoding="utf-8")
    levels = {f"tests/{path.relative_to(REPOSITORY).parts[1]}" for path in (REPOSITORY / "tests").rglob("test_*.py")}
    assert {level for level in levels if not re.search(rf"posargs:[^}}]*{level}\b", tox)} == set()
