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
# What redis-py makes of a connection that ends while it is being made.
_BROKEN = (AttributeError, RuntimeError)


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
    except _BROKEN as error:
        raise ConnectionError(f"the connection ended ({error})") from error
    finally:
        asking.cancel()


async def _ask(pubsub: PubSub, heard: asyncio.Event) -> None:
    """Close the connection when it does not answer; who listens connects anew.

    Nothing here may do so: two that connect at the same time both read what comes (`PubSub.ping` would).
    """
    while True:
        heard.clear()
        asked = pubsub.connection if pubsub.connection and pubsub.connection.is_connected else None
        if asked:
            with contextlib.suppress(RedisError, OSError, *_BROKEN):
                await asked.send_command("PING", check_health=False)
        await asyncio.sleep(ASK_EVERY)
        if asked and not heard.is_set():
            with contextlib.suppress(RedisError, OSError, *_BROKEN):
                await asked.disconnect(nowait=True)
