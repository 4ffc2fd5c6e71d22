"""What to do about an error of the project's own code."""

from __future__ import annotations

import re
from dataclasses import dataclass

from commands.shared.project import ROOT

# Modules whose packages have other names on PyPI.
_PACKAGES = {
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "fitz": "pymupdf",
    "PIL": "pillow",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
_MISSING_MODULE = re.compile(r"No module named '(\w+)")
_NOT_IN_MODULE = re.compile(r"Can't get attribute '([\w.]+)' on <module '(?:__main__|denzel\.worker|gunicorn)")
_NO_FILE = re.compile(r"No such file or directory: '([^']+)'")
_PLACE = re.compile(r"\b(app/logic/[\w/]+\.py), line")


@dataclass(frozen=True)
class _Correction:
    what: str
    joint: str = ", then"
    installs: bool = False  # a package


def for_containers(error: str) -> str:
    """One sentence, without a full stop: what to correct, and the command that applies it."""
    found = _correction(error)
    if not found and (missing := _NO_FILE.search(error)) and (ROOT / missing[1]).is_file():
        found = _Correction(
            f"containers have nothing of this folder but app/: put {missing[1]} into app/assets/ and open it from there"
        )
    found = found or _Correction(f"correct {_file(error)}")
    return f'{found.what}{found.joint} run "make {"updatepipreqs" if found.installs else "restart"}"'


def for_dev(error: str) -> str:
    """The same for processes of `make dev`; nothing where the error itself says enough."""
    found = _correction(error)
    if not found:
        return ""
    return f'{found.what}{found.joint} end "make dev" and start it again' if found.installs else found.what


def _correction(error: str) -> _Correction | None:
    """What to correct; None when the error says it."""
    if missing := _MISSING_MODULE.search(error):
        name = missing[1]
        beside = ROOT / "app/logic" / name
        if beside.is_dir() or beside.with_suffix(".py").is_file():
            return _Correction(f'import it as "from app.logic import {name}" or "from app.logic.{name} import ..."')
        package = _PACKAGES.get(name, name)
        if package in _required():
            text = f"the package {package}, which stands in requirements.txt, is not installed yet"
            return _Correction(text, ":", installs=True)
        return _Correction(f"add the package {package} to requirements.txt", installs=True)
    if attribute := _NOT_IN_MODULE.search(error):
        name = attribute[1]
        return _Correction(
            f"move {name}, which the model was saved with, from your notebook or script into a module of app/logic/, "
            "import it from there where you train, and save the model again"
        )
    return None


def _required() -> set[str]:
    """The names of the packages in requirements.txt, lower case and with hyphens."""
    try:
        lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return set()
    names = (re.match(r"\s*([A-Za-z0-9][\w.-]*)", line) for line in lines)
    return {re.sub(r"[-_.]+", "-", name[1]).lower() for name in names if name}


def _file(error: str) -> str:
    """The file that the error names."""
    found = _PLACE.findall(error)
    return found[-1] if found else "app/logic/pipeline.py"
