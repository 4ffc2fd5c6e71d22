"""The project's requirement files, with all that they name, installed alike into `.venv` and into the image.

    python requirements.py gather PROJECT FOLDER    copy what requirements.txt names, for the image
    python requirements.py install PIP_OPTION...    install it together with requirements-denzel.txt

Runs before anything is installed: the standard library alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

MINE, FRAMEWORK = "requirements.txt", "requirements-denzel.txt"
DIGESTS = "requirements.json"  # in the image: the digest of each file that was gathered

_FILE = re.compile(r"(?:-r|--requirement|-c|--constraint)(?:\s+|=|(?<=-[rc]))(.+)")
_LOCAL = re.compile(r"(?:-e|--editable|-f|--find-links)(?:\s+|=|(?<=-[ef]))(.+)")
_PIN = re.compile(r"([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*(==[^;#\s\\]+)\s*(;[^#\\]*)?")
_URL = re.compile(r"[a-z+]+://|(git|hg|svn|bzr)\+", re.IGNORECASE)
# where a build of the image has the package index of .env; what is not set is an empty file, or none
_SECRETS = Path("/run/secrets")
# what would count more than PIP_CERT in pip, by the library that it sends requests with
OVER_PIP_CERT = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_NEVER = {"__pycache__", ".git", ".venv", "build", "node_modules"}


class RequirementsError(Exception):
    """The files name something that cannot be used; the message says where and what."""


@dataclass
class Requirements:
    """What a project's requirement files say.

    Attributes:
        files: requirements.txt and the files that it names by -r and -c, by their paths in the project.
        local: files and folders of the project that are packages, or hold some.
        editable: those of them that are installed by -e.
        lines: all lines but those of constraint files, joined where they are continued.
    """

    files: list[str] = field(default_factory=list)
    local: list[str] = field(default_factory=list)
    editable: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    @property
    def hashed(self) -> bool:
        """Whether there are hashes: then pip wants one for each package that it installs."""
        return any("--hash=" in line or line.startswith("--require-hashes") for line in self.lines)

    @property
    def pins(self) -> list[str]:
        """The exact versions that are asked for, as lines of a constraint file."""
        found = (_PIN.match(re.split(r"\s+--", line)[0]) for line in self.lines)
        return [f"{pin[1]}{pin[2]} {(pin[3] or '').strip()}".strip() for pin in found if pin]


def read(project: Path) -> Requirements:
    """Read the requirement files of a project.

    Raises:
        RequirementsError: they name a file that is not there, or not inside of the project.
    """
    found = Requirements()
    if (project / MINE).exists():
        _read(project.resolve(), project.resolve() / MINE, found, is_constraint=False)
    return found


def digests(project: Path) -> dict[str, str]:
    """A digest of each file on which it depends what is installed, by its path in the project."""
    found = read(project)
    paths = set(found.files)
    for name in found.local:
        # an editable package is run from where it is: only what describes it has been installed
        inside = ("pyproject.toml", "setup.py", "setup.cfg") if name in found.editable else None
        paths |= {path for path in _below(project, name) if inside is None or Path(path).name in inside}
    return {path: hashlib.sha256((project / path).read_bytes()).hexdigest() for path in sorted(paths)}


def gather(project: Path, folder: Path) -> None:
    """Copy what the requirement files name, and nothing else: an edit of the rest shall not install packages anew."""
    found = read(project)
    for path in [*found.files, *(path for name in found.local for path in _below(project, name))]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(project / path, folder / path)
        (folder / path).chmod(0o755 if os.access(project / path, os.X_OK) else 0o644)  # any user runs the image
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DIGESTS).write_text(json.dumps(digests(project)))


def runs(project: Path, further: list[str], folder: Path) -> list[list[str]]:
    """The options of each run of `pip install`, one after the other.

    Where nothing has hashes, everything is resolved together, so that a conflict is an error here and not a surprise at
    run time. Hashes would be wanted for the framework's packages too; so these come second, and may change none of the
    versions that were asked for.

    Args:
        project: its folder, which must be the current one: pip takes local packages from there.
        further: names of requirement files to install with the framework's.
        folder: for a file that pip reads.
    """
    found = read(project)
    framework = [f"--requirement={project / name}" for name in (FRAMEWORK, *further) if (project / name).exists()]
    mine = [f"--requirement={project / MINE}"] if found.files else []
    if not found.hashed:
        return [framework + mine]
    pins = folder / "pins.txt"
    pins.write_text("\n".join(found.pins) + "\n")
    return [mine, [*framework, f"--constraint={pins}"]]


def _read(project: Path, file: Path, found: Requirements, is_constraint: bool) -> None:
    name = _inside(project, file, MINE)
    if name in found.files:
        return
    if not file.is_file():
        raise RequirementsError(f"{name}, which the requirement files name, does not exist.")
    found.files.append(name)
    for line in _lines(file):
        if not is_constraint:
            found.lines.append(line)
        if match := _FILE.match(line):
            named = _unquoted(match[1])
            if not _URL.match(named):
                _read(project, file.parent / named, found, is_constraint or line.startswith(("-c", "--c")))
        elif not is_constraint and (path := _local_path(line, project, file)):
            local = _inside(project, path, name)
            found.local += [local] if local not in found.local else []
            found.editable += [local] if line.startswith(("-e", "--editable")) else []


def _lines(file: Path) -> Iterator[str]:
    text = re.sub(r"\\\r?\n", " ", file.read_text(encoding="utf-8-sig"))
    for line in text.splitlines():
        if line := re.sub(r"(^|\s)#.*$", "", line).strip():
            yield line


def _local_path(line: str, project: Path, file: Path) -> Path | None:
    """The file or folder of this machine that a line takes a package from; None for all other lines."""
    if match := _LOCAL.match(line):
        text = _unquoted(match[1])
    elif line.startswith("-"):
        return None
    else:
        text = re.split(r"\s+--|\s*;\s", line)[0].strip()
        if match := re.match(r"[\w.-]+\s*(?:\[[^\]]*\])?\s*@\s*(\S+)", text):
            text = match[1]
    text = re.sub(r"\[[^\]]*\]$|#.*$", "", text)
    if text.startswith("file:"):
        text = unquote(re.sub(r"^file:(//(localhost)?(?=/))?", "", text))
    is_path = line.startswith(("-e", "--e", "-f", "--f"))
    if _URL.match(text) or not (
        is_path or text.startswith((".", "/")) or "/" in text or text.endswith((".whl", ".gz", ".zip"))
    ):
        return None
    path = project / text
    return file.parent / text if line.startswith(("-f", "--find")) and not path.exists() else path


def _inside(project: Path, path: Path, named_by: str) -> str:
    """The path in the project."""
    try:
        return path.resolve().relative_to(project).as_posix()
    except ValueError:
        raise RequirementsError(
            f"{named_by} names {path}, which lies outside of the project's folder: containers do not have it. "
            "Move it into the folder, or take the package from an index."
        ) from None


def _below(project: Path, name: str) -> Iterator[str]:
    """A file, or all files of a folder."""
    top = project / name
    if not top.exists():
        raise RequirementsError(f"{name}, which the requirement files name, does not exist.")
    for path in sorted([top] if top.is_file() else top.rglob("*")):
        inside = path.relative_to(project)
        parts = path.relative_to(top).parts
        if path.is_file() and not any(part in _NEVER or part.endswith((".egg-info", ".pyc")) for part in parts):
            yield inside.as_posix()


def _unquoted(text: str) -> str:
    return text.strip().strip("'\"")


def _pip_environment() -> dict[str, str]:
    """The environment, with the package index as pip's variables."""
    environment = dict(os.environ)
    texts = {name: _SECRETS / name.lower() for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL")}
    found = {name: path.read_text(encoding="utf-8").strip() for name, path in texts.items() if path.is_file()}
    environment |= {name: text for name, text in found.items() if text}
    certificates = _SECRETS / "pip_cert"
    if certificates.is_file() and certificates.stat().st_size:
        environment["PIP_CERT"] = str(certificates)
        for name in OVER_PIP_CERT:
            environment.pop(name, None)
    return environment


def main(arguments: list[str]) -> int:
    """Gather or install; the exit code is that of pip, or 1 where the files are wrong."""
    command, *words = arguments
    try:
        if command == "gather":
            gather(Path(words[0]), Path(words[1]))
            return 0
        with tempfile.TemporaryDirectory() as folder:
            for options in runs(Path.cwd(), [], Path(folder)):
                pip = [sys.executable, "-I", "-m", "pip", "install", *words, *options]
                code = subprocess.call(pip, env=_pip_environment())
                if code:
                    return code
    except RequirementsError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
