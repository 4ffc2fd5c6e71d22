"""What the sender of callbacks asks of Redis, each in one round trip.

What is to be sent waits in the sorted set `callbacks` of task ids by due time: put there together with the
result, and taken out only when the callback has been delivered or given up. In between an id is leased, by moving its
due time ahead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from denzel.queue import keys
from denzel.queue.scripts import script

_TWO_DAYS = 172_800  # seconds

exchange = script("exchange_callbacks")
fetch = script("fetch_callbacks")
_REDELIVER = script("redeliver_callback")


async def count_retries(client: Any, day: int, retries: Mapping[str, int]) -> dict[str, int]:
    """Count retries of a day (its number) by receiver: how many each has had before."""
    key = f"{keys.CALLBACK_RETRIES}{day}"
    async with client.pipeline(transaction=False) as pipeline:
        for receiver, count in retries.items():
            pipeline.hincrby(key, receiver, count)
        *counted, _ = await pipeline.expire(key, _TWO_DAYS).execute()
    return {name: total - count for (name, count), total in zip(retries.items(), counted, strict=True)}


def redeliver(client: Any, task_id: str) -> str:
    """Send a task's callback again at once, with a fresh span of retries; takes a synchronous client.

    Returns: "queued", or why not: "unknown", "no callback", "not ended".
    """
    return _REDELIVER(client, task_id).decode()
