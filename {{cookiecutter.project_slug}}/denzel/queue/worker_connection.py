"""A prediction process's connection to Redis: one command at a time, with little between it and the socket.

redis-py makes the connection and reads the answers; what its client does around each command (pool, hooks, metrics)
would cost a lone request more than Redis itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import hiredis
import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, RedisError, TimeoutError
from redis.retry import Retry

from denzel.queue import owner

# Seconds until an answer must have come; blocking commands wait for less.
_PATIENCE = 10.0


class WorkerConnection:
    """Runs scripts and waits on a list; connects when it is needed.

    A command whose answer does not come raises ConnectionError or TimeoutError; it may have been carried out.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._pool = redis.ConnectionPool.from_url(
            url,
            redis_connect_func=owner.connected,
            socket_timeout=_PATIENCE,
            socket_connect_timeout=5,
            retry=Retry(NoBackoff(), 0),
        )
        self._connection: Any = None
        self._client_id = 0

    def evalsha(self, *arguments: Any) -> Any:
        """Run a script that the server knows."""
        return self._exchange("EVALSHA", *arguments)

    def eval(self, *arguments: Any) -> Any:
        """Run a script."""
        return self._exchange("EVAL", *arguments)

    def mget(self, names: Sequence[str]) -> Any:
        """The values under these names, None for each that is not there."""
        return self._exchange("MGET", *names)

    def answers(self, seconds: float) -> bool:
        """Whether the server answers within this time (seconds)."""
        try:
            self._send("PING")
            if self._connection.can_read(seconds):
                return bool(self._receive())
        except (RedisError, OSError):
            return False
        self._disconnect()  # the answer may come later
        return False

    def begin_wait(self, key: str, seconds: float) -> int:
        """Ask for the last element of a list, to be taken out when there is one within this time (seconds).

        Returns a descriptor that is readable when the answer is there, for `end_wait`.
        """
        self._send("BRPOP", key, seconds)
        return self._connection._sock.fileno()

    def end_wait(self) -> bytes | None:
        """The answer to `begin_wait`; None when there was no element."""
        found = self._receive()
        return found[1] if found else None

    @property
    def client_id(self) -> int:
        """The number of this connection at the server."""
        if self._connection is None or not self._client_id:
            self._client_id = self._exchange("CLIENT", "ID")
        return self._client_id

    def unblock(self, client_id: int) -> None:
        """Let another connection's wait end."""
        self._exchange("CLIENT", "UNBLOCK", client_id)

    def _exchange(self, *arguments: Any) -> Any:
        self._send(*arguments)
        return self._receive()

    def _send(self, *arguments: Any) -> None:
        if self._connection is None:
            self._connection, self._client_id = self._pool.get_connection(), 0
        try:
            self._connection.send_packed_command([hiredis.pack_command(arguments)], check_health=False)
        except (ConnectionError, TimeoutError, OSError):
            self._disconnect()
            raise

    def _receive(self) -> Any:
        try:
            return self._connection.read_response()
        except (ConnectionError, TimeoutError, OSError):
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        self._connection.disconnect()
        self._pool.release(self._connection)
        self._connection = None
