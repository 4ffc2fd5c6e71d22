"""Processes that cannot outlive `make dev`, whatever ends it.

`make dev` stops its services by itself. Where it cannot (kill -9, a crash), two things see to it:

- a service is started through ``run``: on Linux the kernel sends it SIGTERM when its parent dies;
- ``guard`` waits beside `make dev` until that is gone, and ends by force what is left a few seconds later.

Run as a script, by path and without site-packages, so that it starts in some milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

# Every process of a `make dev` inherits this variable, with a value of that run's own.
MARK = "DENZEL_DEV_MARK"
# What services get between SIGTERM and SIGKILL: everything is to be gone within 5 seconds.
GRACE = 3.0

_PR_SET_PDEATHSIG = 1
_PROC = Path("/proc")


def command(program: list[str]) -> list[str]:
    """The command line that runs a program in a session of its own and ends it with this process."""
    return [sys.executable, "-I", "-S", __file__, "run", str(os.getpid()), *program]


def guard_command(mark: str, marker: Path) -> list[str]:
    """The command line of the guard; it reads sessions from its stdin until `make dev` is gone."""
    return [sys.executable, "-I", "-S", __file__, "guard", mark, str(marker)]


def survivors(mark: str, sessions: set[int]) -> list[int]:
    """The processes that carry the mark or belong to one of the sessions, as arguments for `os.kill`.

    A process that overwrites its environment (setproctitle does) is still found by its session, and one
    that has a session of its own by its mark. Where there is no /proc: the process groups of the sessions.
    """
    found = []
    if not (_PROC / "self" / "environ").exists():
        for session in sessions:
            try:
                os.killpg(session, 0)
                found.append(-session)
            except OSError:
                pass
        return found
    needle = f"{MARK}={mark}".encode()
    for entry in os.listdir(_PROC):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            if _is_zombie(entry):
                continue
            environment = (_PROC / entry / "environ").read_bytes().split(b"\0")
            if needle in environment or os.getsid(int(entry)) in sessions:
                found.append(int(entry))
        except OSError:  # gone meanwhile, or another user's
            pass
    return found


def end_survivors(mark: str, sessions: set[int], grace: float = 0.0) -> int:
    """Wait up to ``grace`` seconds for the processes to end, kill what is left; how many had to be killed."""
    deadline = time.monotonic() + grace
    while (left := survivors(mark, sessions)) and time.monotonic() < deadline:
        time.sleep(0.05)
    killed = set()
    for _ in range(40):  # a process may start another one while it is being killed
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            except OSError:
                pass
        if not left:
            break
        time.sleep(0.05)
        left = survivors(mark, sessions)
    return len(killed)


def _is_zombie(pid: str) -> bool:
    # the state follows the name in parentheses, which may hold anything
    return (_PROC / pid / "stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"


def _run(parent: int, program: list[str]) -> None:
    """Become the program."""
    os.setsid()
    if sys.platform == "linux":
        try:
            import ctypes

            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        except (ImportError, OSError, AttributeError):
            pass  # a Python without ctypes: the guard is left
    if os.getppid() != parent:
        sys.exit(1)  # it died before the kernel was asked
    os.execvp(program[0], program)


def _guard(mark: str, marker: Path) -> None:
    """Read "+session" and "-session" lines until `make dev` closes the pipe by ending; then clean up."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sessions: set[int] = set()
    for line in sys.stdin:
        (sessions.add if line[0] == "+" else sessions.discard)(int(line[1:]))
    if sys.platform != "linux":  # there the kernel has told them
        for session in sessions:
            with contextlib.suppress(OSError):
                os.kill(session, signal.SIGTERM)
    end_survivors(mark, sessions, GRACE)
    marker.unlink(missing_ok=True)


if __name__ == "__main__":
    if sys.argv[1] == "run":
        _run(int(sys.argv[2]), sys.argv[3:])
    else:
        _guard(sys.argv[2], Path(sys.argv[3]))
