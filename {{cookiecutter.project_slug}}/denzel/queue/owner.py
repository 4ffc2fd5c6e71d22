"""Whose names in Redis they are: each project's own, and of two projects of one name the first one's.

The names of everything tell the project (`keys.PREFIX`). Its identity (PROJECT_ID), made when the project is, tells it
from another one of the same name: on every connection it is compared with the one that is stored, and the second
project is refused. The first connection of a project also takes over what was written before names told the project.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Generator
from typing import Any

import redis
from redis import asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from denzel.queue import keys
from denzel.queue.scripts import script
from denzel.settings import Settings, project

log = logging.getLogger("denzel.redis")

_CLAIM = script("claim_project")

# gunicorn takes this exit code of a process for a reason to end altogether, not to start it again.
_NEVER_STARTS = 3


class OtherProjectError(RedisError):
    """The names belong to another project; the message says to which, and what to do."""


def connected(connection: Any) -> None:
    """What a new connection of redis-py begins with (`redis_connect_func`). Raises OtherProjectError, RedisError."""
    _talk(connection, _claiming())


async def connected_async(connection: Any) -> None:
    """The same for its asyncio client."""
    await _talk_async(connection, _claiming())


def visiting(connection: Any) -> None:
    """The same for a process that claims nothing and takes nothing over: the monitor, the courier of callbacks."""
    _talk(connection, _looking())


async def visiting_async(connection: Any) -> None:
    """The same for its asyncio client."""
    await _talk_async(connection, _looking())


def api_client(url: str, patience: float) -> asyncio.Redis:
    """The API's client for all but what is urgent; `patience` is in seconds.

    One retry: a pooled connection may have gone stale while nobody used it. Every script may run twice.
    """
    return asyncio.Redis.from_url(
        url,
        redis_connect_func=connected_async,
        socket_timeout=patience,
        socket_connect_timeout=1,
        retry=AsyncRetry(NoBackoff(), 1),
    )


def check_at_start(settings: Settings, look: Callable[[Any], None] = connected) -> None:
    """End this process where Redis answers and its names belong to another project.

    Args:
        look: what its connections begin with: `connected` or `visiting`.
    """
    client = redis.Redis.from_url(
        settings.redis_url,
        redis_connect_func=look,
        socket_timeout=2,
        socket_connect_timeout=1,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        client.ping()
    except OtherProjectError as error:
        log.error("%s", error)
        sys.exit(_NEVER_STARTS)
    except (RedisError, OSError):
        pass  # it is looked at again on every connection
    finally:
        client.close()


# Commands to Redis, one by one; each is answered by what Redis says.
_Conversation = Generator[tuple[Any, ...], Any, None]


def _claiming() -> _Conversation:
    found = yield "HGET", keys.PROJECT, "identity"
    if found != keys.IDENTITY.encode() or not _is_taken_over():
        _judge((yield "EVAL", _CLAIM.source, 0, *_claim()))


def _looking() -> _Conversation:
    found: list[bytes] = []
    for field in ("identity", "since", "place"):
        found.append((yield "HGET", keys.PROJECT, field) or b"")
        if found[0] in (b"", keys.IDENTITY.encode()):
            return
    _judge(found)


def _talk(connection: Any, conversation: _Conversation) -> None:
    connection.on_connect()
    answer = None
    with contextlib.suppress(StopIteration):
        while True:
            connection.send_command(*conversation.send(answer))
            answer = connection.read_response()


async def _talk_async(connection: Any, conversation: _Conversation) -> None:
    await connection.on_connect()
    answer = None
    with contextlib.suppress(StopIteration):
        while True:
            await connection.send_command(*conversation.send(answer))
            answer = await connection.read_response()


def _claim() -> tuple[str, ...]:
    """The arguments of the script."""
    place = f"{socket.gethostname()}:{os.getcwd()}"
    return keys.IDENTITY, time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()), place, project()[0]


_taken_over = False


def _is_taken_over() -> bool:
    """Whether this process has once heard that nothing is left to be taken over."""
    return _taken_over


def _judge(found: list[bytes]) -> None:
    global _taken_over
    if len(found) == 1:
        _taken_over = found[0] == b"1"
        return
    first, since, place = (value.decode(errors="replace") for value in found)
    raise OtherProjectError(
        f"Another project is called {project()[0]!r} and has this Redis database already: the one with "
        f"PROJECT_ID={first}, first started at {since} by {place}. Give this project another name "
        "(COMPOSE_PROJECT_NAME in .env) or another database (REDIS_URL, for example with /1 at its end). "
        f"If both are the same project, they have the same line in .env: PROJECT_ID={first}"
    )
