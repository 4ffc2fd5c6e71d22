"""Who the containers run as, and whether they can read and write what is mounted into them."""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from commands.shared import client_key
from commands.shared.docker import docker
from commands.shared.env import read_env, update_env
from commands.shared.project import NOT_ROOT, REDIS_DATA, ROOT, CommandError

_PRIVATE = {".key", ".p12", ".pfx", ".jks", ".kdbx", ".gpg"}
MOUNTED = ("app", "denzel", "entrypoints", "proxy")


def prepare() -> None:
    """Let the containers run as the owner of the project's folder, able to write ``logs/`` and ``redis-data/`` and read
    ``app/``.

    Raises:
        CommandError: names a file that they could not read, and how to change that.
    """
    uid, gid = _containers_user()
    update_env(DENZEL_UID=uid, DENZEL_GID=gid)
    _make_writable(ROOT / "logs", uid, gid)
    _make_writable(REDIS_DATA, uid, gid, "")
    if any(word in docker("info", "--format", "{{.SecurityOptions}}").stdout for word in ("rootless", "userns")):
        REDIS_DATA.chmod(0o1777)  # that user is another one in containers; its own folder in it is closed to others
    client_key.FOLDER.mkdir(exist_ok=True)
    _open_to_all(client_key.FOLDER)
    files = (read_env().get("COMPOSE_FILE") or "").split(os.pathsep)
    if "docker-compose.data.yml" in files:
        _make_writable(ROOT / "data", uid, gid, "*")
    if "docker-compose.metrics.yml" in files:
        _open_to_all(ROOT / "metrics")
    if problem := unreadable():
        raise CommandError(problem)


def _open_to_all(folder: Path) -> None:
    """Let everybody read a folder: Prometheus and Grafana run as users of their own; of keys there are hashes."""
    for path in [folder, *folder.rglob("*")]:
        with contextlib.suppress(OSError):  # somebody else's
            path.chmod(stat.S_IMODE(path.stat().st_mode) | (0o055 if path.is_dir() else 0o044))


def unreadable() -> str | None:
    """What the containers could not read, and how to change that; None if all is well."""
    uid, gid = _containers_user()
    # Docker Desktop shares folders without regard to numbers
    paths = list(_unreadable(uid, gid)) if sys.platform == "linux" else []
    if not paths:
        return None
    text = f"The containers run as user {uid} and cannot read {paths[0].relative_to(ROOT)}. "
    private = [path for path in paths if is_private(path)]
    open_to_all = [path for path in paths if path not in private]
    if open_to_all:
        text += f"Let them: chmod {_words(open_to_all)}"
    if private:
        text += "\n" * bool(open_to_all) + (
            "Give them what only they may read, and leave it closed to others: "
            f"sudo chown {uid}:{gid} {_quoted(private)}"
        )
    return text


def is_private(path: Path) -> bool:
    """Whether a file is one that not everybody may read: a private key, or what is named like one or like a secret."""
    if path.is_dir():
        return False
    if path.name.startswith((".env", "id_", ".netrc", ".pgpass")) or path.suffix in _PRIVATE:
        return True
    try:
        with path.open("rb") as file:
            return b"PRIVATE KEY-----" in file.read(1_000_000)
    except OSError:  # closed to us as well
        return path.suffix == ".pem"


def _words(paths: list[Path]) -> str:
    """What of these paths `chmod` gets: their whole folders only where these hold nothing private."""
    tops = dict.fromkeys(path.relative_to(ROOT).parts[0] for path in paths)
    whole = [top for top in tops if not any(map(is_private, (ROOT / top).rglob("*")))]
    if len(whole) == len(tops):
        return f"-R a+rX {' '.join(name for name in MOUNTED if not any(map(is_private, (ROOT / name).rglob('*'))))}"
    return f"a+rX {_quoted(paths)}"


def _quoted(paths: list[Path]) -> str:
    return " ".join(shlex.quote(str(path.relative_to(ROOT))) for path in paths[:20])


def _containers_user() -> tuple[int, int]:
    """The owner of the project's folder, but never root."""
    owner = ROOT.stat()
    return (owner.st_uid, owner.st_gid) if owner.st_uid else (NOT_ROOT, NOT_ROOT)


def _make_writable(folder: Path, uid: int, gid: int, files: str = "*.log*") -> None:
    folder.mkdir(exist_ok=True)
    for path in (folder, *(folder.glob(files) if files else ())):
        info = path.stat()
        if info.st_uid == uid:
            continue
        try:
            os.chown(path, uid, gid)
        except PermissionError:
            raise CommandError(
                f"{path.relative_to(ROOT)} does not belong to the owner of the project's folder. "
                f"Change that: sudo chown -R {uid}:{gid} {folder.name}"
            ) from None


def _unreadable(uid: int, gid: int) -> Iterator[Path]:
    """The mounted files and folders that the user cannot read."""
    for name in MOUNTED:
        for folder, folders, files in os.walk(ROOT / name):
            folders[:] = [inner for inner in folders if inner != "__pycache__"]  # nobody needs them
            if not _allows(Path(folder), uid, gid, 0o5):
                yield Path(folder)
            yield from (path for file in files if not _allows(path := Path(folder, file), uid, gid, 0o4))


def _allows(path: Path, uid: int, gid: int, wanted: int) -> bool:
    try:
        info = path.stat()
    except OSError:
        return True  # a dangling link, or gone in the meantime: nothing to read
    shift = 6 if info.st_uid == uid else 3 if info.st_gid == gid else 0
    return (stat.S_IMODE(info.st_mode) >> shift) & wanted == wanted
