"""The processes of this machine, read from /proc."""

from __future__ import annotations

from pathlib import Path


def all_processes() -> list[int]:
    """The ids of all processes, ended ones that nobody has waited for among them."""
    return [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]


def command_line(pid: int) -> str:
    """The words of a process's command, with spaces between; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def processes_with(words: str) -> list[int]:
    """The ids of the processes whose command line holds this."""
    return [pid for pid in all_processes() if words in command_line(pid)]


def children_of(pid: int) -> dict[int, str]:
    """The child processes of a process that have not ended: their ids and command lines."""
    children = [child for child, parent in _parents().items() if parent == pid]
    return {child: line for child in children if (line := command_line(child))}


def tree_of(pid: int) -> set[int]:
    """The ids of a process and of all of its descendants."""
    parents, found = _parents(), {pid}
    while children := {child for child, parent in parents.items() if parent in found} - found:
        found |= children
    return found


def is_alive(pid: int) -> bool:
    """Whether a process is there, and not only waited for."""
    stat = _stat(pid)
    return bool(stat) and stat[0] != "Z"


def memory_of(pid: int) -> float:
    """The resident memory of a process, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def _parents() -> dict[int, int]:
    return {pid: int(stat[1]) for pid in all_processes() if (stat := _stat(pid))}


def _stat(pid: int) -> list[str]:
    """What /proc/PID/stat says after the command's name: the state, the parent's id, ...; nothing when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
