"""What to do about an error of the project's own code, or of what it needs."""

from __future__ import annotations

import os.path
import re
from dataclasses import dataclass
from pathlib import Path

from commands.shared import missing_files, missing_modules, missing_programs
from commands.shared.project import ROOT
from denzel import requirements

_NOT_IN_MODULE = re.compile(r"Can't get attribute '([\w.]+)' on <module '(?:__main__|denzel\.worker|gunicorn)")
_NO_FILE = re.compile(r"No such file or directory: '([^']+)'")
_NOT_PERMITTED = re.compile(r"(Permission denied|Read-only file system): '([^']+)'")
_NO_KEY = re.compile(r"KeyError: '(\w+)'")
_FULL = re.compile(r"No space left on device|Disk quota exceeded")
_NO_MEMORY = re.compile(
    r"\bMemoryError\b|CUDA out of memory|Unable to allocate \S+ \w+ for an array|Cannot allocate memory"
)
_NO_ANSWER = re.compile(
    r"Connection refused|Name or service not known|Temporary failure in name resolution|No route to host"
    r"|Network is unreachable|Max retries exceeded|Failed to establish a new connection|getaddrinfo failed"
)
# A file of the user's code and a line in it, or what that file must have: the code is at fault.
_PLACE = re.compile(r"\b(app/logic/[\w/]+\.py)(?:, line (\d+)|(?= must define)|(?=: BATCHABLE))")

# A sentence that begins with the name of a file, a package or a program keeps it as it is.
_NAME_FIRST = re.compile(r"\S*[./_]|(?!there )\S+ (is|has|does|belongs|cannot) ")

_WRITABLE = "containers can write to /tmp, to the home folder (~) and to new files of the working directory only"


@dataclass(frozen=True)
class _Correction:
    what: str
    joint: str = ", then"
    applied_by: str = "restart"  # the command that applies it to containers

    @property
    def installs(self) -> bool:
        """Whether `make dev` has to be started again for it."""
        return self.applied_by == "updatepipreqs"


def for_containers(error: str) -> str:
    """One sentence, without a full stop: what to correct, and the command that applies it."""
    found = _correction(error, in_containers=True) or _of_containers(error)
    if not found and (place := _PLACE.findall(error)):
        found = _Correction(f"correct {place[-1][0]}")
    found = found or _Correction("correct what the error says")
    return f'{found.what}{found.joint} run "make {found.applied_by}"'


def for_dev(error: str) -> str:
    """The same for processes of `make dev`; nothing where the error itself says enough."""
    found = _correction(error, in_containers=False)
    if not found:
        return ""
    return f'{found.what}{found.joint} end "make dev" and start it again' if found.installs else found.what


def sentence(text: str) -> str:
    """An advice as a sentence of its own, still without its full stop."""
    return text if _NAME_FIRST.match(text) else text[:1].upper() + text[1:]


def _correction(error: str, in_containers: bool) -> _Correction | None:
    """What to correct; None when the error says it."""
    if missing := missing_modules.missing_module(error):
        return _import(missing)
    if text := missing_modules.missing_name(error, ROOT):
        return _Correction(text)
    if program := missing_programs.missing_program(error):
        return _program(*program, in_containers)
    if text := missing_files.missing_file(error, ROOT):
        return _Correction(text, "; correct that, then")
    if attribute := _NOT_IN_MODULE.search(error):
        name = attribute[1]
        return _Correction(
            f"move {name}, which the model was saved with, from your notebook or script into a module of app/logic/, "
            "import it from there where you train, and save the model again"
        )
    if (variable := _NO_KEY.search(error)) and "environ" in _line_at_fault(error):
        return _Correction(f"there is no variable {variable[1]}: set it in .env, as {variable[1]}=value")
    if _FULL.search(error):
        return _Correction("the disk is full: make room (the space of old images: docker system df)")
    if _NO_MEMORY.search(error):
        return _Correction(
            "the memory is exhausted: a smaller model, or fewer processes with one (WORKER_CONCURRENCY in .env)"
        )
    return None


def _of_containers(error: str) -> _Correction | None:
    """The same for what is otherwise in containers than on this machine."""
    if (missing := _NO_FILE.search(error)) and os.path.isfile(ROOT / missing[1]):  # also for names that no path can be
        return _Correction(
            f"containers have nothing of this folder but app/: put {missing[1]} into app/assets/ and open it from there"
        )
    if denied := _NOT_PERMITTED.search(error):
        what, path = denied.groups()
        here = ROOT / Path(path.removeprefix("/opt/denzel/"))
        if what == "Permission denied" and here.exists() and not _writes(error):
            return _Correction(f"the containers' user may not read {path}: let it (make doctor says how)")
        return _Correction(f"{path} cannot be written: {_WRITABLE}; name one of these")
    if _NO_ANSWER.search(error):
        text = "what it asks over the network does not answer"
        if re.search(r"localhost|127\.0\.0\.1|\[?::1\b", error):
            text += ": in a container, localhost is the container itself, and this machine is host.docker.internal"
        return _Correction(f"{text}; see that containers reach it")
    return None


def _import(name: str) -> _Correction:
    """What to do where nothing is found under a module's name."""
    if text := missing_modules.own_module(name, ROOT):
        return _Correction(text)
    required = _required()
    if missing_modules.lacking_submodule(name):
        package = name.rpartition(".")[0]
        return _Correction(
            f"{package} is installed, but has no module {name}: correct the name, or the version in requirements.txt"
        )
    if meant := missing_modules.misspelt(name, required):
        text = f'if "{meant}" is meant, correct it; if not, add the package {name} to requirements.txt'
        return _Correction(text, applied_by="updatepipreqs")
    package = missing_modules.PACKAGES.get(name, name)
    if missing_modules.normalized(package.partition("<")[0]) in required:
        text = f"the package {package}, which stands in requirements.txt, is not installed yet"
        return _Correction(text, ":", applied_by="updatepipreqs")
    if "." in name:
        package = f"that brings {name}"
    return _Correction(f"add the package {package} to requirements.txt", applied_by="updatepipreqs")


def _program(name: str, package: str, in_containers: bool) -> _Correction:
    """What to do where a library or program of the operating system is not there."""
    if missing_programs.is_of_the_gpu(name):
        text = f"{name} belongs to NVIDIA's CUDA: take docker-compose.gpu.yml into COMPOSE_FILE of .env, or "
        return _Correction(f"{text}the build of the package for CPUs in requirements.txt")
    if in_containers:
        return _Correction(missing_programs.in_the_image(name, package), applied_by="updateosreqs")
    return _Correction(missing_programs.on_this_machine(name, package))


def _line_at_fault(error: str) -> str:
    """The line of the user's code that the error names, empty if it names none."""
    places = [(file, number) for file, number in _PLACE.findall(error) if number]
    try:
        return (ROOT / places[-1][0]).read_text(encoding="utf-8").splitlines()[int(places[-1][1]) - 1]
    except (IndexError, OSError, UnicodeDecodeError):
        return ""


def _writes(error: str) -> bool:
    """Whether the line at fault is about writing, as far as can be seen."""
    return bool(
        re.search(r"write|save|dump|to_csv|to_parquet|mkdir|makedirs|open\([^)]*['\"][wax]", _line_at_fault(error))
    )


def _required() -> set[str]:
    """The names of the packages in the requirement files, lower case and with hyphens."""
    try:
        lines = requirements.read(ROOT).lines
    except (OSError, UnicodeDecodeError, requirements.RequirementsError):
        return set()
    names = (re.match(r"\s*([A-Za-z0-9][\w.-]*)", line) for line in lines)
    return {missing_modules.normalized(name[1]) for name in names if name}
