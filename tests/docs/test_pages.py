"""The pages as their readers follow them: files are written, commands run, answers compared."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.docs.conftest import DOCS, IDS, PAGES
from tests.docs.reader import reading
from tests.support import markdown
from tests.support.docker import require_docker

ALL = os.environ.get("DENZEL_DOCS") == "all"  # the long form: PyTorch, and the tutorial on containers too
LONG = {"how-to/torch.md", "how-to/performance.md"}
IN_IRIS = "<!-- in the Iris example -->"
# Executed by tests/plugin/test_docs.py; a page of text and drawings.
ELSEWHERE = {"pytest_denzel.md", "architecture.md"}
RUNNABLE = {"bash", "console", "go", "javascript", "json", "python"}
WORDS = {"run", "serve", "stopped", "background", "fails", "only", "needs", "file", "append", "env", "shows", "skip"}

pytestmark = pytest.mark.timeout(540)


def steps(page: str) -> list[markdown.Block]:
    return markdown.blocks(DOCS / page)


def is_followed(page: str) -> bool:
    return any(set(block.attributes) & {"run", "serve", "file"} for block in steps(page))


FOLLOWED = [page for page in IDS if page not in ELSEWHERE and is_followed(page)]


def follow(page: str, above: Path, venv: Path | None, project: Path | None = None, containers: bool = False) -> None:
    with reading(above, venv, project, containers) as reader:
        for block in steps(page):
            program = block.attributes.get("needs")
            if program and not shutil.which(program):
                assert not os.environ.get("CI"), f"{page} needs {program}: .ci/run installs it"
                continue
            reader.follow(block)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the requests need curl")
@pytest.mark.parametrize("page", FOLLOWED)
def test_a_page_does_what_it_says(page: str, request: pytest.FixtureRequest, tmp_path: Path, venv: Path) -> None:
    if page in LONG and not ALL:
        pytest.skip("in the long form only: DENZEL_DOCS=all, or tox -e docs-long")
    if (DOCS / page).read_text(encoding="utf-8").startswith(IN_IRIS):
        project = request.getfixturevalue("iris")
        follow(page, project.parent, venv, project)
    else:
        follow(page, tmp_path, venv)


@pytest.mark.skipif(not ALL, reason="in the long form only: DENZEL_DOCS=all, or tox -e docs-long")
@pytest.mark.parametrize("page", ["tutorial.md", "how-to/backup.md"])
def test_a_page_does_what_it_says_on_containers(page: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    require_docker()
    if (DOCS / page).read_text(encoding="utf-8").startswith(IN_IRIS):
        project = request.getfixturevalue("iris")
        follow(page, project.parent, None, project, containers=True)
    else:
        follow(page, tmp_path, None, containers=True)


@pytest.mark.parametrize("path", [path for path, page in zip(PAGES, IDS, strict=True) if page not in ELSEWHERE])
def test_every_block_is_run_or_says_why_not(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for match in markdown.FENCE.finditer(text):
        language, words = match[1], dict(word.split("=", 1) for word in match[2].split())
        assert set(words) <= WORDS, match[0]
        if "skip" in words:
            before = text[: match.start()].rstrip().rsplit("\n\n", 1)[-1]
            assert re.search(r"not run by (?:the|our) tests", " ".join(before.split())), match[0]
        elif language in RUNNABLE:
            assert words, f"says nothing of what the tests do with it:\n{match[0]}"
