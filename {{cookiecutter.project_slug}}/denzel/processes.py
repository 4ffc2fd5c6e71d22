"""What any process may ask of the operating system about itself and others."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

# What is behind the signals that end processes, as a rule.
_CAUSES = {
    "SIGABRT": "a library gave up, what it said stands above",
    "SIGBUS": "/dev/shm is full (SHM_SIZE in .env), or the disk, or a mapped file became shorter",
    "SIGFPE": "a division by zero in compiled code",
    "SIGHUP": "a terminal was closed",
    "SIGILL": "a library that was built for another processor",
    "SIGKILL": "out of memory",
    "SIGPIPE": "what it wrote to has gone",
    "SIGSEGV": "an error in compiled code, or recursion without end",
    "SIGSYS": "a system call that the container forbids",
    "SIGTERM": "stopped from outside",
    "SIGTRAP": "a library gave up, what it said stands above",
    "SIGXCPU": "a limit of the time on the CPU (ulimit -t)",
    "SIGXFSZ": "a limit of the size of files (ulimit -f)",
}


def ending_of(code: int) -> str:
    """How a process ended, from its return code: `exit code 1`, or `SIGKILL, often: out of memory`."""
    number = -code if code < 0 else code - 128  # as a shell tells of what it has started
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"exit code {code}"
    if code > 0 and name not in _CAUSES:
        return f"exit code {code}"
    cause = f", often: {_CAUSES[name]}" if name in _CAUSES else ""
    return f"{name}{cause}" if code < 0 else f"exit code {code}, perhaps {name}{cause}"


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


def memory_of(pid: int) -> int:
    """Bytes of memory that a process takes, its part of what it shares included; 0 where unknown (not Linux)."""
    for file, field in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        try:
            with open(f"/proc/{pid}/{file}", encoding="ascii", errors="replace") as lines:
                for line in lines:
                    if line.startswith(field):
                        return int(line.split()[1]) * 1024
        except (OSError, ValueError, IndexError):
            continue
    return 0


def free_memory() -> int:
    """Bytes that this machine, or the container's limit (cgroup v2 or v1), has left; 0 where unknown (not Linux)."""
    free = []
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            free += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    except (OSError, ValueError, IndexError):
        pass
    for folder, most, used, cache in (
        ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            limit, taken = (int(Path(folder, name).read_text(encoding="ascii")) for name in (most, used))
            statistics = Path(folder, "memory.stat").read_text(encoding="ascii").split()
            free.append(max(1, limit - taken + int(statistics[statistics.index(cache) + 1])))
        except (OSError, ValueError, IndexError):  # there is none, or it says "max"
            continue
    return min(free, default=0)


def gigabytes(number: int) -> str:
    """A number of bytes as people say it: `3.2 GB`, `180 MB`."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


@contextlib.contextmanager
def environment(**variables: str) -> Iterator[None]:
    """These variables are set while the body runs."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def kill_first(matches: Callable[[str], bool]) -> int | None:
    """Kill (SIGKILL) the first process of this machine or container whose command line matches; its pid, if any."""
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        with contextlib.suppress(OSError):
            command_line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            if matches(command_line):
                os.kill(pid, signal.SIGKILL)
                return pid
    return None
