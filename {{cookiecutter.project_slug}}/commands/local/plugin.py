"""The test plugin and what else requirements-test.txt asks for: where it comes from, and its installation."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

from commands.local.pip import pip_install
from commands.local.venv import TEST_FILE
from commands.shared.project import MARKERS, ROOT, CommandError
from commands.shared.screen import warn

PLUGIN = "pytest-denzel"

_PLUGIN_LINE = re.compile(r"\s*(?P<name>pytest[-_.]denzel\s*(?:\[[^\]]*\])?)(?:\s*@\s*(?P<url>\S+))?", re.IGNORECASE)


def install_test_requirements(requirements: list[str]) -> bool:
    """Install the test plugin and what stands beside it; whether the plugin is there now.

    Serving does not need it: if it cannot be had, that is said and no more.
    """
    if not requirements:
        return False
    lines = [line for line in requirements if not _gone(line)]
    if problem := gone_template(requirements):
        warn(problem)
    file = MARKERS / TEST_FILE
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    try:
        pip_install([f"--requirement={file}"])
    except CommandError as error:
        warn(f"{error}\nThis was for the tests ({TEST_FILE}); everything else works without it.")
        return False
    return any(_PLUGIN_LINE.match(line) for line in lines)


def gone_template(requirements: list[str]) -> str:
    """What to do where the plugin is to come from a folder that is not there any more; empty if it is."""
    for line in requirements:
        if folder := _gone(line):
            return (
                f"{TEST_FILE} takes {PLUGIN} from {folder}, which does not exist. Only the tests need it.\n"
                "make install DENZEL_TEMPLATE=FOLDER (or gh:owner/name) takes it from elsewhere, from then on."
            )
    return ""


def _gone(line: str) -> Path | None:
    """The folder that a line takes the plugin from, if it is not there."""
    match = _PLUGIN_LINE.match(line)
    path = _local_path(match["url"]) if match and match["url"] else None
    return path if path and not path.exists() else None


def read_test_requirements(template: str) -> list[str]:
    """The lines of requirements-test.txt, the plugin taken from where DENZEL_TEMPLATE says."""
    file = ROOT / TEST_FILE
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    if not template:
        return lines
    url = template_url(template)
    return [f"{match['name']} @ {url}" if (match := _PLUGIN_LINE.match(line)) else line for line in lines]


def template_url(template: str) -> str:
    """What pip understands for a template's folder, a git URL, or `gh:owner/name`."""
    if template.startswith("gh:"):
        return f"git+https://github.com/{template[3:].removesuffix('.git')}.git"
    if "://" in template:
        return template if template.startswith(("git+", "file:")) else f"git+{template}"
    folder = Path(template).expanduser().resolve()
    if not folder.is_dir():
        raise CommandError(
            f"DENZEL_TEMPLATE names {template}, which is no folder here and no URL "
            "(gh:owner/name and git URLs work too)."
        )
    return f"file://{quote(str(folder))}"


def _local_path(url: str) -> Path | None:
    parts = urlsplit(url)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else None
