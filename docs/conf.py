"""How Sphinx builds the documentation site: `make docs`. It needs no network, and every warning is an error."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "_source"))
from tables import TABLES

project = "denzel-template"
author = "The denzel-template authors"
extensions = ["myst_parser"]
exclude_patterns = ["_source"]

# Markdown as on GitHub: headings have anchors, `:::{toctree}` is all that is Sphinx's own.
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
highlight_language = "text"

html_theme = "furo"
html_title = "denzel-template"
html_static_path = ["_static"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "source_repository": "https://github.com/denzel-template/denzel-template",
    "source_branch": "main",
    "source_directory": "docs/",
}


def _fill_tables(_app: Any, _page: str, source: list[str]) -> None:
    """Put what `<!-- table: NAME -->` names in its place, from the template's own files."""
    for name, table in TABLES.items():
        if (mark := f"<!-- table: {name} -->") in source[0]:
            source[0] = source[0].replace(mark, table())


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _fill_tables)
