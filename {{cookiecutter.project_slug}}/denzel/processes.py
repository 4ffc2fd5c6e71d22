"""What any process may ask of the operating system about itself and others."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time


def is_stopped(pid: int) -> bool:
    """Whether a process has been frozen by SIGSTOP; False where that cannot be seen (not Linux)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"T"
    except (OSError, IndexError):
        return False


def die_with_parent() -> None:
    """End this process when its parent is gone, even if the parent was killed: no orphan holds a model."""
    parent = os.getppid()
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
        if os.getppid() == parent:
            return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
