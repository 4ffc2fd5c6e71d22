"""Files of the project that belong to somebody else, as those of root do after a command with sudo."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from commands.shared.project import ROOT, CommandError

# What the commands write; the containers' logs may belong to their own user.
_WRITTEN = (".env", ".denzel", ".venv")


def require_own_files() -> None:
    """What the commands write can be written.

    Raises:
        CommandError: something cannot; the text says how to get it back.
    """
    if text := problem():
        raise CommandError(text)


def problem(also: str = "") -> str:
    """What belongs to somebody else and cannot be written, and how to change that; empty if nothing does.

    Args:
        also: a path that could not be written.
    """
    if os.geteuid() == 0:
        return ""
    names = [name for name in _WRITTEN if any(map(_is_closed, _sample(ROOT / name)))]
    path = Path(also) if also else ROOT
    if also and path.is_relative_to(ROOT) and _is_closed(path):
        top = path.relative_to(ROOT).parts[0]
        names += [top] if top not in names else []
    if not names:
        return ""
    words = " ".join(map(shlex.quote, names))
    if ROOT.stat().st_uid != os.geteuid():
        return f"{' and '.join(names)} cannot be written. Run this as the owner of the project's folder."
    return (
        f"{' and '.join(names)} {'belong' if len(names) > 1 else 'belongs'} to another user, as after a command with "
        f"sudo, which no command here needs. Take {'them' if len(names) > 1 else 'it'} back: "
        f"sudo chown -R {os.geteuid()}:{os.getegid()} {words}"
    )


def _sample(path: Path) -> Iterator[Path]:
    """The path itself, and what in it tells whose it is: looking at all of a .venv would take long."""
    if path.is_symlink() or not path.exists():
        return
    yield path
    for pattern in ("*", "bin/*", "lib/python*/site-packages/*") if path.is_dir() else ():
        try:
            yield from path.glob(pattern)
        except OSError:
            return


def _is_closed(path: Path) -> bool:
    try:
        return path.lstat().st_uid != os.geteuid() and not path.is_symlink() and not os.access(path, os.W_OK)
    except OSError:
        return False
