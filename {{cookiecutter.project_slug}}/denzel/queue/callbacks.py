"""What the sender of callbacks asks of Redis, each in one round trip.

What is to be sent waits in the sorted set `denzel:callbacks` of task ids by due time: put there together with the
result, and taken out only when the callback has been delivered or given up. In between an id is leased, by moving its
due time ahead.
"""

from __future__ import annotations

from typing import Any

from denzel.queue.scripts import script

exchange = script("exchange_callbacks")
fetch = script("fetch_callbacks")
_REDELIVER = script("redeliver_callback")


def redeliver(client: Any, task_id: str) -> str:
    """Send a task's callback again at once, with a fresh span of retries; takes a synchronous client.

    Returns: "queued", or why not: "unknown", "no callback", "not ended".
    """
    return _REDELIVER(client, task_id).decode()
