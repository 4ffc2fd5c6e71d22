"""What to do about an error of the project's own code."""

from __future__ import annotations

import re
from dataclasses import dataclass

from commands.shared import missing_modules
from commands.shared.project import ROOT

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
    if missing := missing_modules.missing_module(error):
        return _import(missing)
    if text := missing_modules.missing_name(error, ROOT):
        return _Correction(text)
    if attribute := _NOT_IN_MODULE.search(error):
        name = attribute[1]
        return _Correction(
            f"move {name}, which the model was saved with, from your notebook or script into a module of app/logic/, "
            "import it from there where you train, and save the model again"
        )
    return None


def _import(name: str) -> _Correction:
    """What to do where nothing is found under a module's name."""
    if text := missing_modules.own_module(name, ROOT):
        return _Correction(text)
    required = _required()
    if missing_modules.lacking_submodule(name):
        package, _, _ = name.rpartition(".")
        return _Correction(
            f"{package} is installed, but has no module {name}: correct the name, or its version in requirements.txt"
        )
    if meant := missing_modules.misspelt(name, required):
        text = f'if "{meant}" is meant, correct it; if not, add the package {name} to requirements.txt'
        return _Correction(text, installs=True)
    package = missing_modules.PACKAGES.get(name, name)
    if missing_modules.normalized(package.partition("<")[0]) in required:
        text = f"the package {package}, which stands in requirements.txt, is not installed yet"
        return _Correction(text, ":", installs=True)
    if "." in name:
        package = f"that brings {name}"
    return _Correction(f"add the package {package} to requirements.txt", installs=True)


def _required() -> set[str]:
    """The names of the packages in requirements.txt, lower case and with hyphens."""
    try:
        lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return set()
    names = (re.match(r"\s*([A-Za-z0-9][\w.-]*)", line) for line in lines)
    return {missing_modules.normalized(name[1]) for name in names if name}


def _file(error: str) -> str:
    """The file that the error names."""
    found = _PLACE.findall(error)
    return found[-1] if found else "app/logic/pipeline.py"
