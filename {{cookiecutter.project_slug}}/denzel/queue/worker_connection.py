"""A prediction process's connection to Redis: one command at a time, with little between it and the socket.

redis-py makes the connection and reads the answers; what its client does around each command (pool, hooks, metrics)
would cost a lone request more than Redis itself.
"""

from __future__ import annotations

from typing import Any

import hiredis
import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, TimeoutError
from redis.retry import Retry

# Seconds until an answer must have come; blocking commands wait for less.
_PATIENCE = 10.0


class WorkerConnection:
    """Runs scripts and waits on a list; connects when it is needed.

    A command whose answer does not come raises ConnectionError or TimeoutError; it may have been carried out.
    """

    def __init__(self, url: str) -> None:
        self._pool = redis.ConnectionPool.from_url(
            url, socket_timeout=_PATIENCE, socket_connect_timeout=5, retry=Retry(NoBackoff(), 0)
        )
        self._connection: Any = None

    def evalsha(self, *arguments: Any) -> Any:
        """Run a script that the server knows."""
        return self._exchange("EVALSHA", *arguments)

    def eval(self, *arguments: Any) -> Any:
        """Run a script."""
        return self._exchange("EVAL", *arguments)

    def wait(self, key: str, seconds: float) -> bytes | None:
        """The last element of a list, taken out; None when there was none within this time (seconds)."""
        found = self._exchange("BRPOP", key, seconds)
        return found[1] if found else None

    def _exchange(self, *arguments: Any) -> Any:
        if self._connection is None:
            self._connection = self._pool.get_connection()
        try:
            self._connection.send_packed_command([hiredis.pack_command(arguments)], check_health=False)
            return self._connection.read_response()
        except (ConnectionError, TimeoutError, OSError):
            self._connection.disconnect()
            self._pool.release(self._connection)
            self._connection = None
            raise
