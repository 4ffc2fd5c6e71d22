"""Forks of user code: a child that outlives its process must not keep the connections of that process open.

The other side knows by the end of a connection that a process has died.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from typing import Protocol


class _Holder(Protocol):
    def descriptors(self) -> list[int]:
        """All that a child of this process must not hold open."""


_HOLDERS: weakref.WeakSet[_Holder] = weakref.WeakSet()


def close_in_children(holder: _Holder) -> None:
    """Let children that this process forks from now on close what `holder` has open then."""
    _HOLDERS.add(holder)


def _close() -> None:
    for holder in _HOLDERS:
        for descriptor in holder.descriptors():
            with contextlib.suppress(OSError):
                os.close(descriptor)


os.register_at_fork(after_in_child=_close)
