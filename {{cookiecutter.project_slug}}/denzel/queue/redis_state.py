"""Why Redis does not start, or takes no changes, in words for those who run the service: what /ready tells then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from denzel.queue import keys
from denzel.queue.redis_errors import reason_of

_LONGEST = 500  # characters of what is told


def why_not_started(path: str) -> str:
    """What entrypoints/redis.sh has left there when it did not start, or not for long; empty where it left nothing."""
    if not path:
        return ""
    try:
        with Path(path).open(encoding="utf-8", errors="replace") as file:
            text = file.read(_LONGEST)
    except OSError:
        return ""
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


async def with_cause(client: Any, found: dict[str, Any]) -> dict[str, Any]:
    """The body of /ready with Redis' own reason, where nobody is ready as it reads and does not write."""
    if not found["ready"] and (reason := await _why_no_changes(client)):
        found["reason"] = reason
    return found


async def _why_no_changes(client: Any) -> str:
    """Why Redis reads and does not write, as where its disk is full; empty where it writes."""
    try:
        if (await client.info("persistence")).get("aof_last_write_status", "ok") == "ok":
            return ""
        await client.set(f"{keys.PREFIX}{keys.TAKES_CHANGES}", 1, px=1)
    except (RedisError, OSError) as error:
        return reason_of(error)
    return ""
