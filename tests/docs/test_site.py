"""The site: it builds without a warning and without the network, and everything in it leads somewhere."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.conftest import DOCS, IDS

# Attributes by which a page loads something as it is shown.
LOADED = {("link", "href"), ("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src")}
# Links of other kinds.
NOT_LOADED = {"canonical", "edit", "next", "prev", "index", "search", "author"}
# What a reader sees whole: no picture is large.
LARGEST_PICTURE = 300_000  # bytes


class Page(HTMLParser):
    """What a page links to, what it loads, and the anchors in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        for name in ("href", "src"):
            if (tag, name) in LOADED and name in values and not set(values.get("rel", "").split()) & NOT_LOADED:
                self.loaded.append(values[name])


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; every warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--nitpicky", "-q", "-b", "html"]
    done = subprocess.run(
        [*command, "-d", str(folder / "doctrees"), str(DOCS), str(folder / "html")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "html"


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


def test_every_page_is_in_it(site: Path) -> None:
    assert [page for page in IDS if not (site / page).with_suffix(".html").exists()] == []


def test_every_link_and_anchor_leads_somewhere(site: Path, pages: dict[Path, Page]) -> None:
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or (not parts.path and not parts.fragment):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists() or (
                parts.fragment and target.suffix == ".html" and unquote(parts.fragment) not in pages[target].anchors
            ):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert broken == []


def test_nothing_is_loaded_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    foreign = {(str(path.relative_to(site)), url) for path, page in pages.items() for url in page.loaded if "//" in url}
    assert foreign == set()
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert "url(http" not in styles
    assert "url(//" not in styles
    assert "@import" not in styles


def test_the_tables_are_filled(site: Path) -> None:
    for page, text in (("settings", "WORKER_CONCURRENCY"), ("commands", ">launch<")):
        html = (site / f"reference/{page}.html").read_text(encoding="utf-8")
        assert text in html
        assert "table:" not in html


def test_pictures_are_small() -> None:
    large = {
        path.name: path.stat().st_size for path in (DOCS / "_static").iterdir() if path.stat().st_size > LARGEST_PICTURE
    }
    assert large == {}
