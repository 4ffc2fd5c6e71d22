"""Keeps an eye on all connections of a process: closes those that are stuck, and those that leave no room for others.

One look a second at all of them takes the place of timers for each request. What was closed is told in one line of the
log a minute.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from dataclasses import dataclass
from typing import Any, Protocol

from denzel.settings import Settings

log = logging.getLogger("denzel.server")

# Connections beyond the usual ones: on these only the probes are answered.
RESERVE = 32
PROBES = frozenset(("/ping", "/ready"))
# Descriptors that the process itself may open later on: to Redis, to prediction processes, for files.
_OWN = 128
# Seconds between two looks, and the most that counts of them: while the process itself is held up, no client is late.
_LOOK_EVERY = 1.0
_MOST_BETWEEN = 1.5
_TELL_EVERY = 60.0
# Addresses of clients that are counted apart.
_CLIENTS = 1000
# Of all connections, one in this many makes room at a time.
_SHARE = 16

# Why connections were closed: what the log says of that many.
SILENT = "without a request (HEAD_TIMEOUT)"
HEAD = "with a head that was not complete in time (HEAD_TIMEOUT)"
BODY_RATE = "with a body that came too slowly (BODY_MIN_RATE)"
BODY_TIME = "with a body that took too long (BODY_TIMEOUT, BODY_RATE)"
UNREAD = "with an answer that was not read (SEND_TIMEOUT)"
NO_HTTP = "with what is no proper HTTP"
CROWDED = "to make room for others (API_CONNECTIONS, or the limit of open files)"
FULL = "as there were too many (API_CONNECTIONS, or the limit of open files)"
# What a client is told whose request is under way.
TOLD = {
    HEAD: "The head of the request was not complete in time (HEAD_TIMEOUT in .env).",
    BODY_RATE: "The body of the request came too slowly (BODY_MIN_RATE in .env).",
    BODY_TIME: "The body of the request took too long (BODY_TIMEOUT, BODY_RATE in .env).",
}
# That of a connection without a request after an answer, or after its end was told: no news.
IDLE = ""
# What is no sign of trouble: browsers connect ahead of their requests.
_USUAL = {SILENT}


@dataclass(frozen=True)
class Bounds:
    """How slow clients may be; seconds, and bytes a second.

    Attributes:
        head: until a request's head is complete, from its first byte on, or from the begin of the connection.
        idle: for which a connection may have no request, once it had one.
        body_rate: the least that a body brings over any 10 s.
        body_time: that any body may take, besides its size at `body_pace`.
        body_pace: see there.
        send: within which a client takes at least as much of an answer as `body_rate` says.
        largest: bytes that a body may have.
    """

    head: float
    idle: float
    body_rate: float
    body_time: float
    body_pace: float
    send: float
    largest: int

    @classmethod
    def of(cls, settings: Settings) -> Bounds:
        """Those that the settings say."""
        return cls(
            settings.head_timeout,
            settings.keepalive_timeout,
            settings.body_min_rate,
            settings.body_timeout,
            settings.body_rate,
            settings.send_timeout,
            settings.max_body_bytes,
        )


class Connection(Protocol):
    """What is asked of a connection."""

    number: int
    client: Any

    def judge(self, now: float, bounds: Bounds) -> str | None:
        """Why it is to be closed by now; None: it is not."""
        ...

    def rank(self, now: float) -> tuple[float, float, float] | None:
        """How readily it can be spared: those with the least rank go first; None: a request is under way."""
        ...

    def close_for(self, cause: str) -> None:
        """Close it, with a word to the client where that makes sense."""
        ...

    def abort(self) -> None:
        """Close it at once."""
        ...


class Keeper:
    """Looks at the connections of a process.

    Attributes:
        now: seconds that have passed, without those for which the process was held up; as of the last look.
        most: connections that may be there, but for the RESERVE.

    Args:
        connections: all that there are.
        most: how many there may be by the settings; fewer where the limit of open files leaves less room.
    """

    def __init__(self, bounds: Bounds, connections: set[Any], most: int) -> None:
        self.bounds = bounds
        self.now = 0.0
        self.most = most
        self._connections = connections
        self._wanted = most
        self._made = 0
        self._looked = self._told = 0.0
        self._in_vain = -1.0  # when a look found none that could be spared
        self._reserve: set[Any] = set()
        self._counts: Counter[str] = Counter()
        self._clients: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, in the event loop of the connections."""
        self._loop = asyncio.get_running_loop()
        self._looked = self._told = self._loop.time()
        self.most = room(self._wanted)
        if self.most < self._wanted:
            log.warning(
                "There is room for %d connections only, not for %d (API_CONNECTIONS): the limit of open files is %d",
                *(self.most, self._wanted, descriptors()),
            )
        self._timer = self._loop.call_later(_LOOK_EVERY, self._look)

    def stop(self) -> None:
        """End, and tell what was not told yet."""
        if self._timer:
            self._timer.cancel()
            self._tell()

    def number(self) -> int:
        """The next connection's; later ones have higher ones."""
        self._made += 1
        return self._made

    def count(self, cause: str, client: Any) -> None:
        """A connection was closed for this."""
        self._counts[cause] += 1
        host = client[0] if client else ""
        if host and cause not in _USUAL and (len(self._clients) < _CLIENTS or host in self._clients):
            self._clients[host] += 1

    def crowded(self, newcomer: Connection) -> bool:
        """Close connections until there is room for one more; whether there is none, so that it belongs to the reserve.

        Of the reserve, those make room that have no request, the newcomer at last.
        """
        if self._in_vain != self.now and not self._make_room(self._connections, newcomer, max(1, self.most // _SHARE)):
            self._in_vain = self.now
        if len(self._connections) <= self.most:
            return False
        self._reserve &= self._connections
        if len(self._connections) > self.most + RESERVE and not self._make_room(self._reserve, newcomer, 1):
            self._close(newcomer, FULL)
        self._reserve.add(newcomer)
        return True

    def _make_room(self, among: set[Any], newcomer: Connection, most: int) -> bool:
        """Close the connections that can be spared, at most so many; False when there is none."""
        ranked = [(rank, one) for one in among if one is not newcomer and (rank := one.rank(self.now))]
        ranked.sort(key=lambda pair: pair[0])
        for _, connection in ranked[:most]:
            self._close(connection, CROWDED)
        return bool(ranked)

    def _close(self, connection: Connection, cause: str) -> None:
        self.count(cause, connection.client)
        self._connections.discard(connection)  # it no longer counts, though it goes in the event loop's next turn
        connection.abort()

    def _look(self) -> None:
        time = self._loop.time()
        self.now += min(time - self._looked, _MOST_BETWEEN)
        self._looked = time
        for connection in list(self._connections):
            cause = connection.judge(self.now, self.bounds)
            if cause is not None:
                if cause != IDLE:
                    self.count(cause, connection.client)
                connection.close_for(cause)
        if time - self._told >= _TELL_EVERY:
            self._told = time
            self._tell()
        self._timer = self._loop.call_later(_LOOK_EVERY, self._look)

    def _tell(self) -> None:
        if not self._counts:
            return
        parts = [f"{count} {cause}" for cause, count in self._counts.most_common()]
        fields = {"closed": sum(self._counts.values())}
        level = logging.INFO if _USUAL.issuperset(self._counts) else logging.WARNING
        most = f"; most of them from {self._clients.most_common(1)[0][0]}" if self._clients else ""
        log.log(level, "Closed connections: %s%s", ", ".join(parts), most, extra={"fields": fields})
        self._counts.clear()
        self._clients.clear()


def raise_limit(connections: int) -> None:
    """Raise this process's limit of open files for so many connections, as far as it may; children get the same."""
    try:
        import resource
    except ImportError:  # no such system
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + RESERVE + 2 * _OWN
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError) as error:  # macOS has a further limit
            log.warning("The limit of open files stays %d: %s", soft, error)


def descriptors() -> int:
    """The limit of open files of this process."""
    try:
        import resource
    except ImportError:
        return 1 << 30
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 1 << 30 if soft == resource.RLIM_INFINITY else soft


def room(wanted: int) -> int:
    """For how many connections there is room, at most as many as are wanted; the reserve, and what is open, apart."""
    return max(1, min(wanted, descriptors() - _open() - _OWN - RESERVE))


def _open() -> int:
    """How many descriptors this process has."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return len(os.listdir(folder))
        except OSError:
            pass
    return 64
