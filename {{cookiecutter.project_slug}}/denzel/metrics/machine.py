"""Memory and CPU time of processes, and the memory of their container or machine; nothing where it is not Linux."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from denzel.metrics.layout import LOAD_SECONDS, RUNNING, TITLE, TITLES
from denzel.metrics.pages import Pages

HOST = socket.gethostname()
_CGROUP = Path("/sys/fs/cgroup")


def process(pid: int) -> dict[str, float] | None:
    """Bytes of resident memory and seconds of CPU of a process that lives, else None."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    if fields[0] in (b"Z", b"X"):
        return None
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    return {"cpu": (int(fields[11]) + int(fields[12])) / ticks, "memory": int(fields[21]) * page}


def memory() -> dict[str, int]:
    """Bytes that this container uses, and may use; without a limit of its own those of the machine."""
    for folder, most, used, cache in (
        ("", "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            limit, taken = (int((_CGROUP / folder / name).read_text(encoding="ascii")) for name in (most, used))
            statistics = (_CGROUP / folder / "memory.stat").read_text(encoding="ascii").split()
        except (OSError, ValueError):  # there is none, or it says "max"
            continue
        if limit < 1 << 60:  # else cgroup v1 says that there is none
            free = int(statistics[statistics.index(cache) + 1]) if cache in statistics else 0
            return {"used": max(0, taken - free), "limit": limit}
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            found = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
        return {"used": found["MemTotal"] - found["MemAvailable"], "limit": found["MemTotal"]}
    except (OSError, ValueError, KeyError, IndexError):
        return {}


def told(service: str, pages: Pages) -> dict[str, Any]:
    """What a container tells of itself at the moment, by the pages of its processes.

    Args:
        service: api or denzel.
    """
    processes = []
    for number, pid in pages.pids().items():
        if found := process(pid):
            own = pages.own(number)
            title = TITLES[int(own[TITLE])]
            details = {"running": own[RUNNING], "load_seconds": own[LOAD_SECONDS]}
            processes.append({"title": title, "pid": pid, **found, **details})
    return {"service": service, "host": HOST, "memory": memory(), "processes": processes}
