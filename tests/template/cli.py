"""Run the `cookiecutter` command as users do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.bakery import REPOSITORY


def cookiecutter(
    *arguments: str, folder: Path, template: str = str(REPOSITORY), typed: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder; `typed` goes to its prompts, without it the defaults are taken."""
    options = [] if typed is not None else ["--no-input"]
    return subprocess.run(
        [sys.executable, "-m", "cookiecutter", *options, template, *arguments],
        cwd=folder,
        env=os.environ | {"PWD": str(folder), "COLUMNS": "200"},
        input=typed or "",
        capture_output=True,
        text=True,
        timeout=60,
    )
