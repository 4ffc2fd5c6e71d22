"""The project's requirement files, with all that they name, installed alike into `.venv` and into the image.

    python requirements.py gather PROJECT FOLDER    copy what requirements.txt names, for the image
    python requirements.py install PIP_OPTION...    install it together with requirements-denzel.txt; of `--upgrade`
                                                    only what requirements.txt names is upgraded

Packages that a lock names are installed from the files whose SHA-256 it knows: requirements-denzel.lock, the
framework's, or requirements.lock, which `make lock` makes of all. What no lock names needs no hash.

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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

MINE, FRAMEWORK = "requirements.txt", "requirements-denzel.txt"
LOCK, FRAMEWORK_LOCK = "requirements.lock", "requirements-denzel.lock"
DIGESTS = "requirements.json"  # in the image: the digest of each file that was gathered

_FILE = re.compile(r"(?:-r|--requirement|-c|--constraint)(?:\s+|=|(?<=-[rc]))(.+)")
_LOCAL = re.compile(r"(?:-e|--editable|-f|--find-links)(?:\s+|=|(?<=-[ef]))(.+)")
_PIN = re.compile(r"([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*(==[^;#\s\\]+)\s*(;[^#\\]*)?")
_EXTRAS = re.compile(r"\[[^\]]*\]")  # pip takes none in constraints
_URL = re.compile(r"[a-z+]+://|(git|hg|svn|bzr)\+", re.IGNORECASE)
# where a build of the image has the package index of .env; what is not set is an empty file, or none
_SECRETS = Path("/run/secrets")
# what would count more than PIP_CERT in pip, by the library that it sends requests with
OVER_PIP_CERT = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
# in the head of a lock: the oldest Python that it is for, and the files that it was made of
_FOR_PYTHON = re.compile(r"# Python (\d+)\.(\d+)")
_MADE_OF = re.compile(r"# sha256:([0-9a-f]{64}) (.+)")
# what a requirement file says about where packages come from; the lock of all says nothing of it
_SOURCE = re.compile(
    r"-i|-f|--(index-url|extra-index-url|no-index|find-links|trusted-host|no-binary|only-binary|prefer-binary)\b"
)
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
    paths |= {LOCK} if (project / LOCK).is_file() else set()
    return {path: hashlib.sha256((project / path).read_bytes()).hexdigest() for path in sorted(paths)}


def gather(project: Path, folder: Path) -> None:
    """Copy what the requirement files name, and nothing else: an edit of the rest shall not install packages anew."""
    found = read(project)
    lock = [LOCK] if (project / LOCK).is_file() else []
    for path in [*found.files, *lock, *(path for name in found.local for path in _below(project, name))]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(project / path, folder / path)
        (folder / path).chmod(0o755 if os.access(project / path, os.X_OK) else 0o644)  # any user runs the image
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DIGESTS).write_text(json.dumps(digests(project)))


def runs(
    project: Path, further: list[str], folder: Path, python: Sequence[int] = sys.version_info[:2], upgrade: bool = False
) -> list[list[str]]:
    """The options of each run of `pip install`, one after the other.

    What a lock names comes first, and is checked by its hashes. Then everything is resolved together, so that a
    conflict is an error here and not a surprise at run time; what is locked stays as it is unless something else asks
    for another version. Where the user's own file has hashes, they would be wanted for the framework's packages too; so
    these come last, and may change none of the versions that were asked for.

    Args:
        project: its folder, which must be the current one: pip takes local packages from there.
        further: names of requirement files to install with the framework's.
        folder: for files that pip reads.
        python: the version of the Python that is installed for.
        upgrade: whether what requirements.txt names is upgraded as far as it allows, unless requirements.lock has it.
    """
    found = read(project)
    framework = [f"--requirement={project / name}" for name in (FRAMEWORK, *further) if (project / name).exists()]
    mine = [f"--requirement={project / MINE}"] if found.files else []
    upgraded = ["--upgrade"] * upgrade
    lock, _ = usable_lock(project, python)
    locked = [_locked(project / lock, found, folder)] if lock else []
    if found.hashed:
        pins = folder / "pins.txt"
        pins.write_text("\n".join(found.pins) + "\n")
        return [*locked, [*upgraded, *mine], [*(upgraded if not lock else []), *framework, f"--constraint={pins}"]]
    if not lock:
        return [[*upgraded, *framework, *mine]]
    names_some = any(not line.startswith("-") or _LOCAL.match(line) for line in found.lines)
    if upgrade and names_some and lock != LOCK:
        locked.append([*upgraded, *mine, _within(project / FRAMEWORK, folder)])
    return [*locked, [*framework, *mine]] if names_some or further else locked


def usable_lock(project: Path, python: Sequence[int]) -> tuple[str, str]:
    """The lock that packages are installed from, empty if none fits; and what is to be said about it, or nothing."""
    note = ""
    if made_of := _made_of(project / LOCK):
        oldest, digests_then = made_of
        changed = sorted(name for name, digest in digests_then.items() if digest_of(project / name) != digest)
        if tuple(python[:2]) < oldest:
            note = f"{LOCK} is for Python {'.'.join(map(str, oldest))} and newer"
        elif FRAMEWORK in changed:
            note = f"{FRAMEWORK} is not the one that {LOCK} was made of"
        else:
            unlocked = "what is new in it is installed without hashes. `make lock` locks it"
            return LOCK, f"{', '.join(changed)} changed after {LOCK} was made; {unlocked}." if changed else ""
        note += "; your packages are installed without hashes. `make lock` makes it anew."
    if made_of := _made_of(project / FRAMEWORK_LOCK):
        if all(digest_of(project / name) == digest for name, digest in made_of[1].items()):
            return FRAMEWORK_LOCK, note
        note = note or f"{FRAMEWORK} is not the one that {FRAMEWORK_LOCK} was made of; nothing is checked by its hash."
    return "", note


def digest_of(file: Path) -> str:
    """The SHA-256 of a file's text, whatever its line endings; empty where there is no such file."""
    return hashlib.sha256(file.read_bytes().replace(b"\r\n", b"\n")).hexdigest() if file.is_file() else ""


def lock_head(project: Path, files: list[str], python: Sequence[int]) -> str:
    """What a lock says of itself: for which Python it is, and of which files of the project it was made."""
    made_of = "".join(f"# sha256:{digest_of(project / name)} {name}\n" for name in files)
    return f"# Python {python[0]}.{python[1]}\n{made_of}"


def _made_of(lock: Path) -> tuple[tuple[int, int], dict[str, str]] | None:
    """The oldest Python that a lock is for, and the digests of the files that it was made of; None without a lock."""
    if not lock.is_file():
        return None
    head = [line for line in lock.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    python = next((match for match in map(_FOR_PYTHON.fullmatch, head) if match), None)
    digests = {match[2]: match[1] for match in map(_MADE_OF.fullmatch, head) if match}
    return (int(python[1]), int(python[2])) if python else (3, 10), digests


def _locked(lock: Path, found: Requirements, folder: Path) -> list[str]:
    """Install exactly what a lock names, from where requirements.txt says that packages come from."""
    options = ["--no-deps", "--require-hashes", f"--requirement={lock}"]
    if lock.name == LOCK and (sources := [line for line in found.lines if _SOURCE.match(line)]):
        file = folder / "sources.txt"
        file.write_text("\n".join(sources) + "\n", encoding="utf-8")
        options.append(f"--requirement={file}")
    return options


def _within(framework: Path, folder: Path) -> str:
    """Let nothing come that is beyond what the framework asks for: it would be installed, and refused afterwards."""
    file = folder / "framework.txt"
    file.write_text(_EXTRAS.sub("", framework.read_text(encoding="utf-8")), encoding="utf-8")
    return f"--constraint={file}"


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
        upgrade = "--upgrade" in words
        words = [word for word in words if word != "--upgrade"]
        if note := usable_lock(Path.cwd(), sys.version_info[:2])[1]:
            print(f"NOTE: {note}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            for options in runs(Path.cwd(), [], Path(folder), upgrade=upgrade):
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
