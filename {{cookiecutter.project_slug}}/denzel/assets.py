"""The files of `app/assets`, pinned by their SHA-256 in `app/assets.sha256`: checked before `load_model` reads them.

`make lock-assets` writes that file, in the format of sha256sum; without it nothing is checked. It counts for every
file of `app/assets` but for `info.txt`, the examples, and what editors and caches leave: one that is not in it is as
wrong as one that has changed. The standard library alone: the commands use it, too.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from denzel import edits

FOLDER, LOCK = edits.ASSETS, edits.ASSETS_LOCK
COMMAND = "make lock-assets"
# what no model is loaded from; the service tells or sends it as it is
_NOT_OF_THE_MODEL = ("app/assets/info.txt", "app/assets/examples")
_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_CHUNK = 1 << 20  # bytes that are read at once


class AssetsError(Exception):
    """The assets are not those that were pinned; the message names the file, what was expected, and the command."""


def check(root: Path | str = ".") -> None:
    """Make sure that the assets of the project in this folder are those that were pinned, if any were.

    Takes about a second for a GB.

    Raises:
        AssetsError: a file is another one, missing, not pinned, or cannot be read; or `app/assets.sha256` cannot.
    """
    try:
        text = (Path(root) / LOCK).read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise AssetsError(f"{LOCK} cannot be read: {error}. {COMMAND} makes it anew.") from None
    pinned = _pinned(text)
    meant = f"If it is meant to be: {COMMAND}"
    for name in sorted(pinned.keys() | set(_files(Path(root)))):
        expected = pinned.get(name)
        if expected is None:
            raise AssetsError(f"{name} is not in {LOCK}, so the model is not loaded. {meant}")
        try:
            found = digest(Path(root) / name)
        except OSError as error:
            problem = f"{name} cannot be read ({error.strerror})"
            raise AssetsError(f"{problem}; {LOCK} expects the SHA-256 {expected}. {meant}") from None
        if found != expected:
            problem = f"{name} is not the file that was pinned: its SHA-256 is {found}, {LOCK} expects {expected}"
            raise AssetsError(f"{problem}. {meant}")


def lock(root: Path | str = ".") -> list[str]:
    """Pin the assets as they are now; their paths in the project."""
    found = {name: digest(Path(root) / name) for name in sorted(_files(Path(root)))}
    path = Path(root) / LOCK
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text("".join(f"{value}  {name}\n" for name, value in found.items()), encoding="utf-8")
    os.replace(temporary, path)
    return list(found)


def digest(file: Path) -> str:
    """The SHA-256 of a file's bytes."""
    found = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()


def _pinned(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        match = _LINE.fullmatch(line)
        if line.strip() and not line.startswith("#") and not match:
            raise AssetsError(f"{LOCK}, line {number}: this is no SHA-256 and a path. {COMMAND} makes it anew.")
        if match:
            found[match[2]] = match[1]
    return found


def _files(root: Path) -> Iterator[str]:
    """The files that count, by their paths in the project."""
    seen: set[str] = set()  # links may lead in a circle
    for folder, folders, files in os.walk(root / FOLDER, followlinks=True):
        inside = Path(folder).relative_to(root).as_posix()
        if os.path.realpath(folder) in seen:
            folders.clear()
            continue
        seen.add(os.path.realpath(folder))
        folders[:] = sorted(name for name in folders if _counts(f"{inside}/{name}"))
        yield from (f"{inside}/{name}" for name in files if _counts(f"{inside}/{name}"))


def _counts(path: str) -> bool:
    name = path.rpartition("/")[2]
    return path not in _NOT_OF_THE_MODEL and not (
        name.startswith((".", "#")) or name.endswith(("~", ".swp", ".tmp", ".pyc")) or name == "__pycache__"
    )
