"""What a session leaves on this machine, and how it is removed whatever ends the session.

Each session has a folder that says who owns it. Its services run as children of small keepers (`run`), so that they
outlive the pytest process that happened to start them; a janitor (`watch`) waits beside the owner and removes
everything when that is gone, also after `kill -9`. What even the janitor could not remove, the next session does
(`sweep`); it touches nothing of an owner that lives.

This file uses the standard library alone and also runs as a script, by its path.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Every process of a session inherits this variable; its value is the session's name.
MARK = "PYTEST_DENZEL_SESSION"
# The containers, the network and the volume of a session belong to the Compose project of this name.
PREFIX = "denzel-test-"
OWNER, KEEP, DOCKER = "owner.json", "keep", "docker.json"

_LABEL = "label=com.docker.compose.project="
_PROC = Path("/proc")


def base_folder() -> Path:
    """The folder that holds those of all sessions of this user, readable by nobody else."""
    folder = Path(tempfile.gettempdir()) / f"pytest-denzel-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user; remove it, or set TMPDIR.")
    return folder


# ---- Owners -------------------------------------------------------------------------------------------------------


def identity(pid: int) -> dict[str, Any]:
    """What tells a process from all others of this machine, also from a later one with the same number."""
    return {"machine": _machine(), "pid": pid, "started": _started(pid)}


def is_alive(owner: dict[str, Any]) -> bool:
    """Whether a session's owner runs; True where that cannot be seen from here (another container's processes)."""
    if owner.get("machine") != _machine():
        return True
    return owner.get("started") is not None and _started(int(owner["pid"])) == owner["started"]


def _machine() -> str:
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return f"{os.uname().nodename} {namespace}"


def _started(pid: int) -> str | None:
    """When a process was started, None when there is none (or only its remains) under this number."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else f"{boot} {fields[19]}"
    except OSError:
        if _PROC.joinpath("self/stat").exists():
            return None
    done = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True)
    state, _, started = done.stdout.strip().partition(" ")
    return started.strip() if state and not state.startswith("Z") else None


# ---- Removing -----------------------------------------------------------------------------------------------------


def sweep(base: Path) -> list[str]:
    """Remove what sessions with a dead owner left behind; their names."""
    swept = []
    for folder in sorted(base.iterdir()):
        owner = read_json(folder / OWNER)
        if owner and not is_alive(owner) and not (folder / KEEP).exists():
            remove(folder)
            swept.append(folder.name)
    return swept


def remove(folder: Path, grace: float = 0.0) -> None:
    """Remove a session: its processes, its containers with their network and volume, its folder.

    Args:
        folder: the session's folder.
        grace: seconds that the processes get to end by themselves.
    """
    for _ in range(3):  # a process that is just being started may start another one, or a container
        end_processes(folder, grace)
        if not remove_containers(folder):
            break
    for _ in range(3):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)


def processes(folder: Path) -> list[int]:
    """The processes of a session: those that carry its mark, and the services that its keepers have started.

    A service may overwrite its environment (Redis does) and outlive its keeper, so its pid is on record, and whatever
    shares its process session is part of it. That is not so for every marked process: Compose runs in the session of
    the user's own terminal, of which nothing else is touched.
    Where there is no /proc: the process groups of the keepers, as `os.kill` takes them.
    """
    records = [record for path in folder.glob("*.json") if (record := read_json(path)) and "keeper" in record]
    if not (_PROC / "self/environ").exists():
        return [-record["keeper"]["pid"] for record in records if is_alive(record["keeper"])]
    needle = f"{MARK}={folder.name}".encode()
    sessions = {record["keeper"]["pid"] for record in records if _session_lives(record)}
    found = []
    for pid in _all_processes():
        with contextlib.suppress(OSError):
            ours = os.getsid(pid) in sessions
            if ours or needle in (_PROC / str(pid) / "environ").read_bytes().split(b"\0"):
                found.append(pid)
    return [pid for pid in found if pid != os.getpid() and _started(pid) is not None]


def _session_lives(record: dict[str, Any]) -> bool:
    """Whether a keeper's process session is still its own: a number alone could be a stranger's by now."""
    if is_alive(record["keeper"]):
        return True
    service = record.get("service")
    if not service or not is_alive(service):
        return False
    try:
        return os.getsid(service["pid"]) == record["keeper"]["pid"]
    except OSError:
        return False


def members(leader: int) -> dict[int, str]:
    """The living processes of a process group but its leader: their pids and command lines."""
    found = {}
    if (_PROC / "self/stat").exists():
        for pid in _all_processes():
            with contextlib.suppress(OSError):
                if os.getpgid(pid) == leader and _holds_anything(pid):
                    found[pid] = (
                        (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                    )
    else:
        listed = subprocess.run(["ps", "-A", "-o", "pid=,pgid=,stat=,command="], capture_output=True, text=True)
        for line in listed.stdout.splitlines():
            number, group, state, program = [*line.split(None, 3), "", ""][:4]
            if group == str(leader) and not state.startswith("Z"):
                found[int(number)] = program
    found.pop(leader, None)
    return dict(sorted(found.items()))


def _holds_anything(pid: int) -> bool:
    """Whether a process runs, or its threads still do: it counts as a zombie before the last of them has let go of
    files and sockets."""
    if _started(pid) is not None:
        return True
    return len(os.listdir(_PROC / str(pid) / "task")) > 1


def end_processes(folder: Path, grace: float = 0.0) -> None:
    """End the processes of a session: by SIGTERM, where they get a grace (seconds) for it, then by SIGKILL."""
    found = processes(folder)
    if grace:
        _signal(found, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while found and time.monotonic() < deadline:
        time.sleep(0.05)
        found = processes(folder)
    for _ in range(100):
        _signal(found, signal.SIGKILL)
        if not found:
            return
        time.sleep(0.05)
        found = processes(folder)


def _signal(found: list[int], number: int) -> None:
    for pid in found:
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def _all_processes() -> list[int]:
    return [int(name) for name in os.listdir(_PROC) if name.isdigit()]


def remove_containers(folder: Path) -> bool:
    """Remove containers, networks and volumes of the session; whether there were any."""
    docker = read_json(folder / DOCKER)
    if docker is None:
        return False
    label = f"{_LABEL}{PREFIX}{folder.name}"
    environment = {**os.environ, **docker}
    found = False
    for kind, force in (("container", ["--force", "--volumes"]), ("network", []), ("volume", ["--force"])):
        every = ["--all"] if kind == "container" else []
        with contextlib.suppress(OSError):
            listed = subprocess.run(
                ["docker", kind, "ls", "--quiet", *every, "--filter", label],
                env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            )  # fmt: skip
            if ids := listed.stdout.split():
                found = True
                subprocess.run(
                    ["docker", kind, "rm", *force, *ids],
                    env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                )  # fmt: skip
    return found


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object from a file; None where there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object; a reader sees the old one or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value), encoding="utf-8")
    os.replace(temporary, path)


# ---- As a script --------------------------------------------------------------------------------------------------


def command(*arguments: str | os.PathLike[str]) -> list[str]:
    """The command line that runs this file with these arguments; it starts within some milliseconds."""
    return [sys.executable, "-I", "-S", __file__, *(os.fspath(argument) for argument in arguments)]


def _watch(folder: Path) -> None:
    """Wait until the session is over; if it was not ended properly, remove it."""
    _become_daemon()
    owner = read_json(folder / OWNER) or {}
    while folder.exists():
        if not is_alive(owner):
            if not (folder / KEEP).exists():
                remove(folder)
            return
        time.sleep(0.5)


def _run(folder: Path, name: str, program: Sequence[str]) -> None:
    """Start a service and stay its parent; `NAME.json` in the folder says its pid, and its exit code at the end."""
    status = folder / f"{name}.json"
    status.unlink(missing_ok=True)
    with open(folder / "logs" / f"{name}.log", "ab") as log:
        _become_daemon(wait_for=status)
        try:
            child = subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        except OSError as error:
            log.write(f"{program[0]} cannot be started: {error}\n".encode())
            write_json(status, {"keeper": identity(os.getpid()), "pid": 0, "ended": 127})
            return
    keeper = {"keeper": identity(os.getpid()), "service": identity(child.pid), "pid": child.pid}
    write_json(status, keeper)
    code = child.wait()
    with contextlib.suppress(OSError):  # the folder may be gone
        write_json(status, {**keeper, "ended": code})


def _become_daemon(wait_for: Path | None = None) -> None:
    """Go on as a process of its own; the one that was called ends, when this file is there."""
    if os.fork():
        while wait_for and not wait_for.exists():
            time.sleep(0.01)
        os._exit(0)
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # not SIG_IGN, which a service would inherit


def main(arguments: Sequence[str]) -> int:
    """`watch FOLDER`, `run FOLDER NAME PROGRAM...`, or `remove FOLDER`."""
    task, folder = arguments[0], Path(arguments[1])
    if task == "watch":
        _watch(folder)
    elif task == "run":
        _run(folder, arguments[2], arguments[3:])
    elif task == "remove" and (folder / OWNER).exists():
        remove(folder)
    else:
        print(f"{folder}: no session of pytest-denzel", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
