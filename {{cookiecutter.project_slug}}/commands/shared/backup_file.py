"""The file of a backup: a ZIP with Redis' data of one moment and what they are of."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from commands.shared.project import CommandError
from commands.shared.snapshot import CHUNK, writer

_ABOUT, _DATA = "about.json", "data.rdb"
_FORM = 1  # of the file
_END = 0xFF  # before the eight bytes of the checksum


@dataclass(frozen=True)
class About:
    """What a backup is of.

    Attributes:
        project, identity: COMPOSE_PROJECT_NAME and PROJECT_ID of `.env`.
        moment: when it was made, as "2026-01-31 12:30:00 UTC".
        redis: which server has written the data, as "Redis 8.0.2".
    """

    project: str
    identity: str
    moment: str
    redis: str = ""
    form: int = _FORM


def write(path: Path, about: About, data: Iterable[bytes]) -> int:
    """Write a backup, which is there as a whole or not at all; the number of bytes of the data in it.

    Raises:
        CommandError: the data are not whole, or the disk is full.
    """
    part = path.with_name(f"{path.name}.part")
    head = tail = b""
    count = 0
    try:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w+b") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                with archive.open(_DATA, "w", force_zip64=True) as member:
                    for chunk in data:
                        head, tail, count = (head + chunk)[:200], (tail + chunk)[-9:], count + len(chunk)
                        member.write(chunk)
                if len(tail) < 9 or tail[0] != _END:
                    raise CommandError("Redis' data are not whole: nothing is kept of this backup.")
                told = asdict(about) | {"redis": writer(head)}
                archive.writestr(_ABOUT, json.dumps(told, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise CommandError(f"The backup could not be written: {error.strerror or error}: {path}") from None
    finally:
        part.unlink(missing_ok=True)
    return count


def read(path: Path) -> About:
    """What a backup is of; all of it was read, and is as it was written.

    Raises:
        CommandError: it is not there, no backup, or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                raise zipfile.BadZipFile
            told = json.loads(archive.read(_ABOUT))
            archive.getinfo(_DATA)
        if told["form"] > _FORM:
            raise CommandError(f"{path} is of a newer version of the framework: update the project first.")
        project, identity, moment, redis = (str(told[name]) for name in ("project", "identity", "moment", "redis"))
        return About(project, identity, moment, redis)
    except OSError as error:
        raise CommandError(f"{error.strerror or error}: {path}") from None
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, EOFError, RuntimeError):
        raise CommandError(f"{path} is no backup, or it is damaged: nothing is changed.") from None


def data(path: Path) -> Iterator[bytes]:
    """The data of a backup."""
    with zipfile.ZipFile(path) as archive, archive.open(_DATA) as member:
        yield from iter(lambda: member.read(CHUNK), b"")
