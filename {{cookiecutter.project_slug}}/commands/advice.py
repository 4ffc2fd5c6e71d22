"""What to do about an error of the project's own code."""

from __future__ import annotations

import re

from commands.project import ROOT

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
_NOT_IN_MODULE = re.compile(r"Can't get attribute '([\w.]+)' on <module '(?:__main__|app\.worker|gunicorn)")
_NO_FILE = re.compile(r"No such file or directory: '([^']+)'")
_PLACE = re.compile(r"\b(app/logic/[\w/]+\.py), line")


def for_containers(error: str) -> str:
    """One sentence, without a full stop: what to correct, and the command that applies it."""
    what, package = _correction(error)
    if not what and (missing := _NO_FILE.search(error)) and (ROOT / missing[1]).is_file():
        what = (
            f"containers have nothing of this folder but app/: put {missing[1]} into app/assets/ and open it from there"
        )
    command = "make updatepipreqs" if package else "make restart"
    return f'{what or f"correct {_file(error)}"}, then run "{command}"'


def for_dev(error: str) -> str:
    """The same for processes of `make dev`; nothing where the error itself says enough."""
    what, package = _correction(error)
    if not what:
        return ""
    return f'{what}, then end "make dev" and start it again' if package else what


def _correction(error: str) -> tuple[str, bool]:
    """What to correct, nothing when that is plain; and whether it is a package that is missing."""
    if missing := _MISSING_MODULE.search(error):
        name = missing[1]
        beside = ROOT / "app/logic" / name
        if beside.is_dir() or beside.with_suffix(".py").is_file():
            return f'import it as "from app.logic import {name}" or "from app.logic.{name} import ..."', False
        return f"add the package {_PACKAGES.get(name, name)} to requirements.txt", True
    if attribute := _NOT_IN_MODULE.search(error):
        name = attribute[1]
        return (
            f"move {name}, which the model was saved with, from your notebook or script into a module of app/logic/, "
            f"import it from there where you train, and save the model again",
            False,
        )
    return "", False


def _file(error: str) -> str:
    """The file that the error names."""
    found = _PLACE.findall(error)
    return found[-1] if found else "app/logic/pipeline.py"
