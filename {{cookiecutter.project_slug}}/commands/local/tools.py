"""The programs of requirements-tools.txt, each apart from `.venv`: what they need must not meet the service's."""

from __future__ import annotations

import hashlib
import os
import re
import shutil

from commands.local.pip import LOG, pip_install
from commands.shared.env import read_env
from commands.shared.package_index import index_is_right
from commands.shared.project import MARKERS, ROOT, CommandError
from commands.shared.screen import say

TOOLS_FILE = "requirements-tools.txt"
FOLDER = MARKERS / "tools"


def environment_with(name: str, version: str) -> dict[str, str]:
    """The variables by which the `.venv`'s Python finds a tool as a module, after installing it where it is missing.

    Args:
        name: of its package, as in requirements-tools.txt.
        version: of the Python in `.venv`: a tool installed for another one is installed anew.

    Raises:
        CommandError: it could not be installed; the text says why.
    """
    line = _line(name)
    folder, stamp = FOLDER / name, FOLDER / f"{name}.txt"
    digest = hashlib.sha256(f"{line} {version} {folder}".encode()).hexdigest()
    if not folder.is_dir() or not stamp.exists() or stamp.read_text() != digest:
        say(f"Installing {name} into {folder.relative_to(ROOT)}")
        index_is_right(read_env())
        shutil.rmtree(folder, ignore_errors=True)
        FOLDER.mkdir(parents=True, exist_ok=True)
        LOG.write_bytes(b"")
        pip_install([line], into=["--no-user", f"--target={folder}", "--prefix=", "--root=/"])
        stamp.write_text(digest)
    return {"PYTHONPATH": str(folder), "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


def _line(name: str) -> str:
    file = ROOT / TOOLS_FILE
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    found = next((line for line in lines if re.match(rf"{re.escape(name)}\b(?!-)", line)), None)
    if not found:
        raise CommandError(f"{TOOLS_FILE} has no line for {name}. Bake over the project to have the file again.")
    return found
