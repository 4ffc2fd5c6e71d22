"""Whether the user's code or assets have changed, seen by the times and sizes of their files.

Used where code that does not load is tried again, and by `make dev`, which takes up edits: the standard library alone.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

CODE, ASSETS = ("app/logic", "app/data", "app/model"), "app/assets"
ASSETS_LOCK = "app/assets.sha256"  # by which denzel/assets.py checks them
_EXAMPLES = "app/assets/examples"  # what `make test`, `make predict` and /docs read anew each time
LOOK_EVERY = 0.5  # seconds between two looks, longer where a look takes long
_SHARE = 20  # of the time, looking takes at most this part


class Edits:
    """Looks for edits in a project's folder; what is there when this is made counts as known.

    Attributes:
        known: each file's time (nanoseconds since 1970) and size in bytes, as of the last look.
        pause: seconds to wait between two looks.
    """

    def __init__(self, root: Path | str = ".") -> None:
        self._root = os.fspath(root)
        self.pause = LOOK_EVERY
        self.known = self._look()

    def look(self) -> list[str]:
        """The files that have changed, come or gone since the last look, by their paths in the project, sorted."""
        now = self._look()
        changed = sorted(path for path in self.known.keys() | now.keys() if self.known.get(path) != now.get(path))
        self.known = now
        return changed

    def in_code(self) -> bool:
        """Whether code was edited since the last look. Assets do not count: they may have been written by the code."""
        return any(path.startswith(CODE) for path in self.look())

    def wait(self, seconds: float) -> bool:
        """Sleep, but no longer than until there is an edit; whether there was one."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, self.pause))
            if self.look():
                return True
        return False

    def _look(self) -> dict[str, tuple[int, int]]:
        began = time.monotonic()
        found = dict(self._files())
        self.pause = max(LOOK_EVERY, (time.monotonic() - began) * _SHARE)
        return found

    def _files(self) -> Iterator[tuple[str, tuple[int, int]]]:
        for top in (*CODE, ASSETS):
            for folder, folders, files in os.walk(os.path.join(self._root, top), followlinks=False):
                inside = os.path.relpath(folder, self._root).replace(os.sep, "/")
                folders[:] = [name for name in folders if _counts(name) and f"{inside}/{name}" != _EXAMPLES]
                for name in filter(_counts, files):
                    try:
                        info = os.stat(os.path.join(folder, name))
                    except OSError:  # gone meanwhile, or a link that leads nowhere
                        continue
                    yield f"{inside}/{name}", (info.st_mtime_ns, info.st_size)
        with contextlib.suppress(OSError):
            info = os.stat(os.path.join(self._root, ASSETS_LOCK))
            yield ASSETS_LOCK, (info.st_mtime_ns, info.st_size)


def _counts(name: str) -> bool:
    """Whether a file or folder can be one of the user's: no cache, nothing that an editor keeps beside its file."""
    return not (name.startswith((".", "#")) or name.endswith(("~", ".swp", ".tmp", ".pyc")) or name == "__pycache__")
