"""Why Redis does not start on its data, as its lines say, and what to do; nothing is ever deleted."""

from __future__ import annotations

import re

REPAIR = "To make them readable, without deleting any: make repair"
ROOM = "make room on it, and start again (df -h shows the disks, docker system df what Docker takes); nothing is lost"

# What entrypoints/redis_data.sh says, and what Redis itself says of files that it cannot read.
_REFUSED = re.compile(r"REDIS CANNOT START: (?P<reason>[^\"\n]+)")
_DAMAGED = re.compile(
    r"Bad file format reading the append only file|Unexpected end of file reading the append only file|"
    r"Unrecoverable error reading the append only file|Short read or OOM loading DB|Unexpected EOF reading RDB file|"
    r"Internal error in RDB reading|Wrong RDB checksum|AOF manifest|wasn't successfully loaded"
)
_NEWER = re.compile(r"Can't handle RDB format version")
_FULL = re.compile(r"No space left on device|Short write while writing to the AOF file")


def problem(lines: str) -> str:
    """The cause and the correction in the last lines of Redis; empty where they tell of nothing like that."""
    if found := list(_REFUSED.finditer(lines)):
        return f"Redis cannot start: {found[-1]['reason'].strip()}"
    if _FULL.search(lines):
        return f"The disk of Redis' data is full: {ROOM}"
    if _NEWER.search(lines):
        return (
            "The data of Redis were written by a newer version, and stay as they are: start that one or a newer one "
            "(REDIS_IMAGE in .env; for make dev the redis-server on PATH)"
        )
    if _DAMAGED.search(lines):
        return f"The data of Redis are damaged. {REPAIR}"
    return ""
