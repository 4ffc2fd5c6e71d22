"""What the package index shows of the plugin."""

from __future__ import annotations

import re

from tests.support.bakery import REPOSITORY

ADDRESS = "denzel-template/denzel-template"


def test_project_urls_are_where_the_documents_say_and_name_files_that_are_there() -> None:
    section = re.search(
        r"(?ms)^\[project\.urls\]\n(.*?)^\[", (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    )
    assert section
    urls = dict(re.findall(r'(?m)^(\w+) = "(.*)"$', section[1]))
    assert {"Documentation", "Changelog", "Source"} <= set(urls)
    assert f"cookiecutter gh:{ADDRESS}" in (REPOSITORY / "README.md").read_text(encoding="utf-8")
    for url in urls.values():
        assert url.startswith(f"https://github.com/{ADDRESS}")
        _, in_repository, path = url.partition("/blob/main/")
        assert not in_repository or (REPOSITORY / path).is_file()
