"""Who the containers run as, and whether they can read and write what is mounted into them."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from commands.shared.env import update_env
from commands.shared.project import ROOT, CommandError

NOT_ROOT = 10001  # stands in for root, as whom no container of the project runs
MOUNTED = ("app", "denzel", "entrypoints", "proxy")


def prepare() -> None:
    """Let the containers run as the owner of the project's folder, able to write ``logs/`` and read ``app/``.

    Raises:
        CommandError: names a file that they could not read, and how to change that.
    """
    uid, gid = _containers_user()
    update_env(DENZEL_UID=uid, DENZEL_GID=gid)
    _make_writable(ROOT / "logs", uid, gid)
    if problem := unreadable():
        raise CommandError(problem)


def unreadable() -> str | None:
    """What the containers could not read, and how to change that; None if all is well."""
    uid, gid = _containers_user()
    # Docker Desktop shares folders without regard to numbers
    if sys.platform == "linux" and (path := _unreadable(uid, gid)):
        return (
            f"The containers run as user {uid} and cannot read {path.relative_to(ROOT)}. "
            f"Let them: chmod -R a+rX {' '.join(MOUNTED)}"
        )
    return None


def _containers_user() -> tuple[int, int]:
    """The owner of the project's folder, but never root."""
    owner = ROOT.stat()
    return (owner.st_uid, owner.st_gid) if owner.st_uid else (NOT_ROOT, NOT_ROOT)


def _make_writable(folder: Path, uid: int, gid: int) -> None:
    folder.mkdir(exist_ok=True)
    for path in (folder, *folder.glob("*.log*")):
        info = path.stat()
        if info.st_uid == uid:
            continue
        try:
            os.chown(path, uid, gid)
        except PermissionError:
            raise CommandError(
                f"{path.relative_to(ROOT)} does not belong to the owner of the project's folder. "
                f"Change that: sudo chown -R {uid}:{gid} logs"
            ) from None


def _unreadable(uid: int, gid: int) -> Path | None:
    """The first mounted file or folder that the user cannot read."""
    for name in MOUNTED:
        for folder, folders, files in os.walk(ROOT / name):
            folders[:] = [inner for inner in folders if inner != "__pycache__"]  # nobody needs them
            if not _allows(Path(folder), uid, gid, 0o5):
                return Path(folder)
            for file in files:
                if not _allows(path := Path(folder, file), uid, gid, 0o4):
                    return path
    return None


def _allows(path: Path, uid: int, gid: int, wanted: int) -> bool:
    try:
        info = path.stat()
    except OSError:
        return True  # a dangling link, or gone in the meantime: nothing to read
    shift = 6 if info.st_uid == uid else 3 if info.st_gid == gid else 0
    return (stat.S_IMODE(info.st_mode) >> shift) & wanted == wanted
