"""`make lock`: requirements.lock, all packages of the project with their hashes; and the images by their digests.

The lock is made by uv for all platforms, and for every Python from the older of those of `.venv` and of the image.
It holds packages of an index alone: local ones, editable ones and repositories have no hash and are installed after
it. Nor does it name an index, which may be a machine's own.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from commands.local import tools, venv
from commands.local.install import ensure_installed
from commands.shared import base_images, package_index
from commands.shared.arguments import parse_arguments
from commands.shared.project import ROOT, CommandError
from commands.shared.screen import colour, say, warn
from denzel import requirements

_PIP_NAMES = {"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "find-links": "UV_FIND_LINKS"}
_PYPI = "https://pypi.org/simple"
_OWN_INDEX = re.compile(r"(?:-i|--index-url)[\s=]*(\S+)")
_HEAD = """\
# All packages of the project, with the SHA-256 of their files. Made by `make lock` of these files; it belongs into git.
"""


def run(arguments: list[str]) -> int:
    """Lock the packages, then the images; the exit code is 0 where a registry does not answer, too."""
    parse_arguments(arguments, {})
    python = ensure_installed()
    version = str(venv.read_stamp()["version"])
    found = requirements.read(ROOT)
    own_index = next((match[1] for match in map(_OWN_INDEX.match, found.lines) if match), "")
    environment = index_variables(python, own_index) | tools.environment_with("uv", version)
    constraint = [name for name in found.files if name != requirements.MINE]
    oldest = oldest_python(version)
    say(f"Resolving {requirements.FRAMEWORK} and {requirements.MINE} for Python {'.'.join(map(str, oldest))} and newer")
    files = [name for name in (requirements.FRAMEWORK, requirements.MINE) if (ROOT / name).exists()]
    first = ROOT / requirements.FRAMEWORK_LOCK
    text = compile_lock([str(python), "-m", "uv"], ROOT, files, oldest, environment, preferred=first)
    head = _HEAD + requirements.lock_head(ROOT, [*files, *constraint], oldest)
    (ROOT / requirements.LOCK).write_text(f"{head}\n{text}", encoding="utf-8")
    count = len(re.findall(r"(?m)^[A-Za-z0-9]", text))
    say(f"{colour('Locked', 'green')} {count} packages in {requirements.LOCK}; make updatepipreqs installs them.")
    _pin_images()
    return 0


def _pin_images() -> None:
    pinned, kept = base_images.pin()
    for name, image in pinned.items():
        say(f"{colour('Pinned', 'green')} {name}={image}")
    for name, problem in kept.items():
        warn(f"{name} stays {problem}")
    if kept:
        warn("An image is pinned where its registry can be asked: make lock again there.")


def compile_lock(
    uv: list[str],
    project: Path,
    files: list[str],
    python: tuple[int, ...],
    environment: Mapping[str, str],
    preferred: Path | None = None,
) -> str:
    """What a lock of these requirement files holds: a package a line, then its hashes, each on a line of its own.

    Args:
        uv: the words that start uv.
        project: the folder of the files.
        files: their names.
        python: the oldest Python that it is for.
        environment: variables that uv gets beside ours.
        preferred: a lock whose versions are kept where they fit.

    Raises:
        CommandError: uv could not resolve them; the text is its own.
    """
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder) / "new.lock"
        if preferred and preferred.is_file():
            lock.write_bytes(preferred.read_bytes())
        words = ["--universal", "--python-version", ".".join(map(str, python[:2])), "--generate-hashes", "--no-header"]
        words += ["--no-annotate", "--index-strategy", "unsafe-best-match", "--no-config", "--quiet"]
        done = subprocess.run(
            [*uv, "pip", "compile", *words, "--output-file", str(lock), *files],
            cwd=project,
            env={**os.environ, "UV_PYTHON_DOWNLOADS": "never", **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            advice = package_index.advice(done.stderr)
            raise CommandError(f"{done.stderr.strip()}\nuv could not lock the packages." + f"\n{advice}" * bool(advice))
        return "".join(_of_an_index(lock.read_text(encoding="utf-8")))


def _of_an_index(text: str) -> Iterator[str]:
    """The packages that come from an index or from a URL, which have hashes."""
    for entry in re.split(r"(?m)^(?=[^\s#])", text):
        if "--hash=" in entry and not re.match(r"[./-]|\S+ @ file:", entry):
            yield entry


def oldest_python(version: str) -> tuple[int, ...]:
    """The older of this Python and of that in the image, as far as the name of the image tells."""
    found = [tuple(map(int, version.split(".")[:2]))]
    if match := re.match(r"(?:\S*/)?python:(\d+)\.(\d+)", base_images.in_use().get("BASE_IMAGE", "")):
        found.append((int(match[1]), int(match[2])))
    return min(found)


def index_variables(python: Path, own_index: str = "") -> dict[str, str]:
    """The indexes that pip has, by `.env`, its variables and its files, as uv's variables.

    Args:
        python: one with a pip.
        own_index: the index that requirements.txt names instead.
    """
    environment = package_index.pip_environment()
    command = [str(python), "-m", "pip", "config", "list"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    values: dict[str, str] = {}
    order = ["global", "install", ":env:"]  # what comes later counts more
    lines = [re.fullmatch(r"([\w:]+)\.([\w-]+)=(.+)", line) for line in done.stdout.splitlines()]
    for match in sorted((match for match in lines if match and match[1] in order), key=lambda m: order.index(m[1])):
        values[match[2]] = str(ast.literal_eval(match[3]))
    found = {uv: " ".join(values[pip].split()) for pip, uv in _PIP_NAMES.items() if values.get(pip)}
    if "no-index" not in values:
        # of a release that two indexes have, uv takes the files of the first: the further ones often lack some
        first = own_index or found.get("UV_DEFAULT_INDEX", _PYPI)
        found["UV_INDEX"] = f"{first} {found.get('UV_INDEX', '')}".strip()
    if "UV_FIND_LINKS" in found:
        found["UV_FIND_LINKS"] = found["UV_FIND_LINKS"].replace(" ", ",")
    if values.get("cert"):
        found["SSL_CERT_FILE"] = values["cert"]
    return found
