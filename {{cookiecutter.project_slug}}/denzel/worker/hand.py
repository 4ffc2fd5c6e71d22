"""What an idle process is handed: through the queue, or directly by an API process of this machine."""

from __future__ import annotations

import select

from denzel.direct.door import Door
from denzel.queue import claims, keys
from denzel.queue.worker_connection import WorkerConnection

# Seconds of one command that waits.
_WAIT = 1.0


class Hand:
    """Waits for both at once. The queue is asked over a connection of its own, whose answer may be left for later.

    Args:
        url: of Redis.
        claimant: the process; it is listed as idle while it waits.
        door: where tasks come directly; None where they do not.
    """

    def __init__(self, url: str, claimant: claims.Claimant, door: Door | None) -> None:
        self._connection = WorkerConnection(url)
        self._claimant = claimant
        self._door = door
        self._answer: int | None = None  # the descriptor that is readable when the queue has answered
        self._client_id = 0

    def wait(self, seconds: float) -> claims.Claimed | None:
        """What is handed over within this time (seconds); nothing when tasks have come directly, None when none came.

        Raises RedisError, OSError.
        """
        if self._answer is None:
            self._client_id = self._connection.client_id
            self._answer = self._connection.begin_wait(keys.HAND + self._claimant.token, _WAIT)
        if self._door:
            answered = self._door.wait(seconds, self._answer)
        else:
            poll = select.poll()
            poll.register(self._answer, select.POLLIN)
            answered = bool(poll.poll(seconds * 1000))
        if not answered:  # it may be later
            return ([], 0) if self._door and self._door.waiting else None
        handed = self._end()
        return claims.handed_over(self._claimant, handed) if handed else ([], 0)

    def let_go(self, client: WorkerConnection) -> None:
        """Wait no longer. What was handed over in this moment stays a claim, which returns to the queue.

        Raises RedisError, OSError.
        """
        if self._answer is not None:
            client.unblock(self._client_id)
            self._end()

    def _end(self) -> bytes | None:
        self._answer = None
        return self._connection.end_wait()
