"""What a container may take of the machine: memory, processor cores, processes with their threads; what Redis may hold.

`.env` says it; what is empty there is found here, so that it fits the machine that Docker runs on. Only what Compose is
told says so, and no file: a folder that is copied to another machine has that one's.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from commands.shared.env import read_env
from commands.shared.project import CommandError

# The containers by the first word of their settings; OTHERS is each of those that further compose files bring.
GROUPS = ("API", "DENZEL", "REDIS", "MONITOR", "OTHERS")
KINDS = ("MEMORY", "CPU", "PIDS")
NAMES = tuple(f"{group}_{kind}_LIMIT" for group in GROUPS for kind in KINDS)
DATA = "REDIS_MAXMEMORY"

_MIB, _GIB = 1 << 20, 1 << 30
_STEP = 64 * _MIB  # the memory of a machine is not quite the same after each of its starts
_LEAST_MEMORY = 64 * _MIB  # with less nothing starts
_CGROUP = Path("/sys/fs/cgroup")
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": _MIB, "g": _GIB, "t": 1 << 40}
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)([bkmgt]?)b?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Machine:
    """What Docker has: bytes of memory, and cores."""

    memory: int
    cores: int


@cache
def machine() -> Machine | None:
    """The machine that Docker runs on, which may be a virtual one; None where Docker does not tell."""
    try:
        words = ["docker", "info", "--format", '{"memory": {{.MemTotal}}, "cores": {{.NCPU}}}']
        done = subprocess.run(words, capture_output=True, text=True, timeout=20)
        found = Machine(**json.loads(done.stdout))
    except (OSError, ValueError, TypeError, subprocess.SubprocessError):
        return None
    return found if found.memory and found.cores else None


def defaults() -> dict[str, str]:
    """The limits that `.env` leaves open, by their names; none where the machine is not known."""
    there = machine()
    if not there:
        return {}
    env = read_env()
    found = {**_memory(there, env), **_cores(there, env), "DENZEL_PIDS_LIMIT": str(max(4096, 128 * there.cores))}
    redis = size(env.get("REDIS_MEMORY_LIMIT") or found["REDIS_MEMORY_LIMIT"])
    found[DATA] = _half(redis or there.memory // 2 // _STEP * _STEP)
    return {name: value for name, value in found.items() if not env.get(name)}


def _half(memory: int) -> str:
    """What Redis may hold that has so much memory: it needs the other half while it writes its file anew."""
    return f"{max(memory // 2, _LEAST_MEMORY // 2) // _MIB}mb"


def data_of_dev() -> str:
    """What the Redis of `make dev` may hold: as `.env` says, else a quarter of the memory that is here."""
    memory = _memory_here()
    fits = _half(memory // 2 // _STEP * _STEP) if memory else "0"
    return read_env().get(DATA) or fits


def _memory_here() -> int:
    """Bytes that this machine has, or that the container which this runs in may take; 0 where unknown."""
    found = []
    with contextlib.suppress(OSError, ValueError):
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # cgroup v2, v1
        with contextlib.suppress(OSError, ValueError):  # there is none, or it says "max"
            found.append(int((_CGROUP / name).read_text(encoding="ascii")))
    return max(0, min(found, default=0))


def _memory(there: Machine, env: dict[str, str]) -> dict[str, str]:
    """Each may take a part that leaves room for the machine itself; all of them together may be promised too much."""
    most = there.memory * 3 // 4
    fullest = int(1.5 * (size(env.get("REDIS_MAXMEMORY") or "0") or 0)) + 256 * _MIB  # it writes its file anew, too
    found = {
        "API": most if _inline(env) else max(there.memory // 4, min(_GIB, most)),
        "DENZEL": most,
        "REDIS": max(there.memory // 2, fullest),
        "MONITOR": min(_GIB, there.memory // 4),
        "OTHERS": min(_GIB, there.memory // 4),
    }
    return {
        f"{group}_MEMORY_LIMIT": f"{max(_LEAST_MEMORY, number // _STEP * _STEP) // _MIB}m"
        for group, number in found.items()
    }


def _cores(there: Machine, env: dict[str, str]) -> dict[str, str]:
    """Docker refuses more than there are."""
    workers = env.get("API_WORKERS", "")
    api = int(workers) + 1 if workers.isdecimal() else 3  # auto is two
    found = {"API": there.cores if _inline(env) else api, "DENZEL": there.cores, "REDIS": 2, "MONITOR": 1, "OTHERS": 2}
    return {f"{group}_CPU_LIMIT": str(min(there.cores, number)) for group, number in found.items()}


def _inline(env: dict[str, str]) -> bool:
    return env.get("EXECUTOR", "").strip().lower() == "inline"


def size(text: str) -> int | None:
    """Bytes, of `512m` or `2gb`; None where that is no size."""
    match = _MEMORY.fullmatch(text.strip())
    return int(float(match[1]) * _UNITS[match[2].lower()]) if match else None


def in_force() -> dict[str, str]:
    """All limits by their names: as `.env` says, else as they fit this machine, else as the compose files do."""
    env = read_env()
    pids = {"API": "1024", "DENZEL": "4096", "REDIS": "256", "MONITOR": "256", "OTHERS": "1024"}
    fallback = {f"{group}_PIDS_LIMIT": number for group, number in pids.items()}
    return {name: env.get(name) or {**fallback, **defaults()}.get(name, "0") for name in (*NAMES, DATA)}


def limits_are_right() -> None:
    """The limits of `.env` are such that Docker takes them.

    Raises:
        CommandError: names the one that is not.
    """
    there = machine()
    for name in NAMES:
        text = read_env().get(name, "")
        if not text or text == "0":
            continue
        if name.endswith("_MEMORY_LIMIT"):
            if (size(text) or 0) < _LEAST_MEMORY:
                raise CommandError(f"{name} must be at least 64m, as 512m or 2g (0: no limit), not {text!r}.")
        elif name.endswith("_PIDS_LIMIT"):
            if not re.fullmatch(r"[1-9]\d{0,8}", text, re.ASCII):
                raise CommandError(f"{name} must be a number of processes (0: no limit), not {text!r}.")
        elif not re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII) or float(text) < 0.01:
            raise CommandError(f"{name} must be a number of cores, as 2 or 0.5 (0: no limit), not {text!r}.")
        elif there and float(text) > there.cores:
            raise CommandError(f"{name} is {text}, but Docker has {there.cores} cores here, and takes no larger limit.")


def described() -> str:
    """The limits in force, a line for each container."""
    found = in_force()
    lines = []
    for group in GROUPS:
        memory, cores, pids = (found[f"{group}_{kind}_LIMIT"] for kind in KINDS)
        told = [
            f"{memory} of memory" if memory != "0" else "any memory",
            f"{cores} core{'' if cores == '1' else 's'}" if cores != "0" else "all cores",
            f"{pids} processes" if pids != "0" else "any number of processes",
        ]
        if group == "REDIS":
            told.append(f"{found[DATA]} of data ({DATA})" if found[DATA] != "0" else f"any data ({DATA})")
        lines.append(f"{group.lower() if group != 'OTHERS' else 'each of the others'}: {', '.join(told)}")
    return "\n".join(lines)


def too_large() -> list[str]:
    """The names of the limits of memory that the machine does not reach."""
    there = machine()
    given = {f"{group}_MEMORY_LIMIT": size(read_env().get(f"{group}_MEMORY_LIMIT", "")) or 0 for group in GROUPS}
    given[DATA] = size(read_env().get(DATA, "")) or 0
    return [name for name, number in given.items() if there and number > there.memory]


def redis_note() -> str:
    """What to change where Redis is ended before it is full; empty where it is not."""
    found = in_force()
    limit, data = (size(found[name]) or 0 for name in ("REDIS_MEMORY_LIMIT", DATA))
    if not limit or (data and data < limit):
        return ""
    return (
        f"{DATA} is {found[DATA]}, but the container redis may take {found['REDIS_MEMORY_LIMIT']} "
        "(REDIS_MEMORY_LIMIT): it is ended when that is used up. Leave one of them empty"
    )
