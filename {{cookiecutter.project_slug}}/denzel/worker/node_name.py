"""The name of a worker node: unique among all machines, held by a lease in Redis.

worker@slug, or the first of worker-2@slug, worker-3@slug, ... that no living worker holds
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket

from redis import asyncio as redis
from redis.exceptions import RedisError

from denzel.queue import keys
from denzel.queue.owner import OtherProjectError

log = logging.getLogger("denzel.supervisor")

# A name is held by a lease of this many seconds, renewed every second.
_LEASE = 5


class NodeName:
    """Claims a name, keeps it and gives it back.

    Args:
        client: of the Redis that all nodes share.
        slug: the project's.
    """

    def __init__(self, client: redis.Redis, slug: str) -> None:
        self._redis = client
        self._slug = slug
        self._name = ""
        # Stable over restarts of a container, so that it gets its name back at once.
        self._owner = f"{socket.gethostname()}:{os.getcwd()}"

    async def claim(self) -> str:
        """Wait for Redis and for the first free name; it is held from now for as long as `hold` is called.

        Raises:
            OtherProjectError: the names in this Redis belong to another project.
        """
        number, watched = 1, 0
        while True:
            self._name = f"worker@{self._slug}" if number == 1 else f"worker-{number}@{self._slug}"
            try:
                if await self.hold():
                    return self._name
                left = await self._redis.pttl(keys.NODE + self._name)
            except OtherProjectError:
                raise
            except (RedisError, OSError) as error:
                log.warning("Waiting for Redis: %s", error)
                await asyncio.sleep(1)
                continue
            # A living holder renews its lease every second; a dead one's runs out.
            if left > (_LEASE - 2) * 1000:
                watched += 1
            if watched >= 2:
                number, watched = number + 1, 0
            else:
                await asyncio.sleep(1.2)

    async def hold(self) -> bool:
        """Renew the lease; False when another owner has it. Raises RedisError, OSError."""
        key = keys.NODE + self._name
        if await self._redis.set(key, self._owner, nx=True, ex=_LEASE):
            return True
        if await self._redis.get(key) == self._owner.encode():
            return bool(await self._redis.expire(key, _LEASE))
        return False

    async def release(self) -> None:
        """Give the name back, and the heartbeat that goes with it; without Redis the lease runs out by itself."""
        with contextlib.suppress(RedisError, OSError):
            await self._redis.hdel(keys.NODES, self._name)
            await self._redis.delete(keys.NODE + self._name)
