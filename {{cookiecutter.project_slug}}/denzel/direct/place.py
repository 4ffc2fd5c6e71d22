"""Where prediction processes listen: a folder that they share with the API of the same service and machine.

    <token>.sock   the socket of a prediction process
    <token>.page   for each of its connections, how many tasks have begun, and which were recalled (see `frames`)
    <token>.lock   locked by the API process that has given it slow work (flock)

The folder's name holds a digest of what the service is, and whose, so that the services of two runs in one project's
folder, with a Redis of their own each, never meet.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from urllib.parse import urlsplit

from denzel.direct import frames
from denzel.settings import Settings

_LONGEST = 100  # bytes of a socket's path that every system takes


def folder_of(settings: Settings) -> Path | None:
    """The folder, made where it is not there; None where the direct way is off or cannot be had."""
    if settings.direct != "on":
        return None
    service = f"{settings.project_slug} {settings.project_id} {_place_of(settings.redis_url)}"
    identity = f"{frames.VERSION} {service} {os.getuid()}"
    folder = Path(settings.direct_folder) / hashlib.sha256(identity.encode()).hexdigest()[:12]
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder.resolve() if os.access(folder, os.W_OK) else None
    except OSError:
        return None


def _place_of(url: str) -> str:
    """A Redis' URL without the user, who is another one for each service."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


class Place:
    """The folder as it is reached: a socket's path may have but some hundred bytes, the folder's own may have more."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)

    def socket(self, name: str) -> str:
        """A socket's path, as bind and connect take it."""
        path = str(self.folder / f"{name}.sock")
        return path if len(os.fsencode(path)) <= _LONGEST else f"/proc/self/fd/{self._fd}/{name}.sock"

    def names(self) -> set[str]:
        """The tokens of those that listen, or did."""
        with contextlib.suppress(OSError):
            return {name.removesuffix(".sock") for name in os.listdir(self.folder) if name.endswith(".sock")}
        return set()

    def remove(self, name: str) -> None:
        """Forget a process that has gone."""
        for suffix in ("sock", "page", "lock"):
            with contextlib.suppress(OSError):
                (self.folder / f"{name}.{suffix}").unlink()

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._fd)
