"""Commands that talk to a running service, called by the Makefile inside the api container (or in `make dev`).

python -m app.control response sync [SECONDS]
python -m app.control response async
"""

from __future__ import annotations

import math
import sys

import redis
from redis.exceptions import RedisError

from app import store
from app.settings import get_settings

USAGE = "usage: python -m app.control response sync [SECONDS] | response async"


def set_response(mode: str, timeout: str | None) -> str:
    """Change the live response setting; every request that comes after this returns sees it.

    Returns: a sentence that says what is set now.
    Raises: ValueError for a wrong value, RedisError when Redis does not serve.
    """
    if mode not in ("sync", "async"):
        raise ValueError(f"MODE must be sync or async, not {mode!r}")
    seconds = 0.0
    if mode == "sync":
        try:
            seconds = float(timeout or "5.0")
        except ValueError:
            seconds = math.nan
        if not 0 < seconds <= 86_400:
            raise ValueError("Sync timeout must be greater than 0 (and at most 86400 seconds)")
    elif timeout:
        raise ValueError("TIMEOUT goes with MODE=sync only")
    client = redis.Redis.from_url(get_settings().redis_url, socket_timeout=2, socket_connect_timeout=2)
    client.set(store.RESPONSE, str(seconds))
    return f"Responses are synchronous, with a timeout of {seconds:g} s" if seconds else "Responses are asynchronous"


def main(arguments: list[str]) -> int:
    """Run one command; 0 when it worked, else 1 with one line on stderr."""
    if len(arguments) not in (2, 3) or arguments[0] != "response":
        print(USAGE, file=sys.stderr)
        return 1
    try:
        print(set_response(arguments[1], arguments[2] if len(arguments) == 3 else None))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    except (RedisError, OSError):
        print(
            "Failed to change the response setting: Redis does not answer (see `make status`)",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
