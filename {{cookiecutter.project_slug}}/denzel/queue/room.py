"""How much may wait in the queue, and what those are told whose task is not let in."""

from __future__ import annotations

from typing import Any

from redis.exceptions import ResponseError

from denzel.admission import why_refused
from denzel.executor import NotTaken, QueueFull
from denzel.settings import Settings

# Where MAX_QUEUE_BYTES says nothing, requests that wait may take this part of what Redis may use; where that has no
# limit, this part of its machine's memory; and so many bytes where it does not tell.
_OF_LIMIT, _OF_MACHINE, _UNKNOWN = 1 / 2, 1 / 8, 1_000_000_000


class Room:
    """The bounds of the queue.

    Attributes:
        most: tasks that may wait.
        most_bytes: bytes of their requests.
    """

    def __init__(self, settings: Settings) -> None:
        self.most = settings.max_queue
        self.most_bytes = settings.max_queue_bytes or _UNKNOWN
        self._is_automatic = not settings.max_queue_bytes
        self._max_wait_async = settings.max_wait_async

    async def look(self, client: Any) -> None:
        """See what fits this Redis, whose limit may be changed while it runs."""
        if not self._is_automatic:
            return
        try:
            memory = await client.info("memory")
        except ResponseError:  # of those who rent it out not all let it be asked
            return
        limit, machine = (int(memory.get(name) or 0) for name in ("maxmemory", "total_system_memory"))
        self.most_bytes = int(limit * _OF_LIMIT or machine * _OF_MACHINE) or _UNKNOWN

    def refusal(self, waiting: int, expected: float | None, after: int, seconds: float | None) -> Exception:
        """What to raise for a task that was refused.

        Args:
            waiting: how many tasks wait.
            expected: seconds of work that wait before it; None: as much waits as may.
            after: seconds after which its client is to come again; 0: Redis has lost the request.
            seconds: for which its client waits; None, 0: it is asynchronous.
        """
        if not after:
            return NotTaken("Redis has lost the request; send it again")
        if expected is None:
            why = f"{waiting} tasks are waiting already"
            return QueueFull(
                why if waiting >= self.most else f"{why}, with as many bytes as may (MAX_QUEUE_BYTES)", after
            )
        return QueueFull(why_refused(expected, seconds or self._max_wait_async, not seconds), after, f"in {after} s")
