"""Listening to messages of Redis for ever: a connection that has died in silence is noticed, too.

Redis may vanish without a word (a machine that is cut off). Who only listens would never learn of it: so it is asked
for a sign of life now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

# A connection on which nothing came for up to twice as long (seconds), though a sign of life was asked for, is closed.
ASK_EVERY = 5.0


async def messages(pubsub: PubSub) -> AsyncIterator[dict[str, Any]]:
    """The messages of a subscription, one by one.

    Raises:
        RedisError, OSError: the connection broke, or is silent.
    """
    heard = asyncio.Event()
    asking = asyncio.create_task(_ask(pubsub, heard))
    try:
        async for message in pubsub.listen():
            heard.set()
            if message["type"] != "pong":
                yield message
    finally:
        asking.cancel()


async def _ask(pubsub: PubSub, heard: asyncio.Event) -> None:
    """Close the connection when it does not answer."""
    with contextlib.suppress(RedisError, OSError):
        while True:
            heard.clear()
            await pubsub.ping()
            await asyncio.sleep(ASK_EVERY)
            if not heard.is_set() and pubsub.connection:
                await pubsub.connection.disconnect(nowait=True)
                return
