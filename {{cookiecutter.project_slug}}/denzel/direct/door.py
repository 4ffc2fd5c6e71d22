"""A prediction process's side: it listens for API processes, takes their tasks, and answers them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import mmap
import os
import select
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from denzel.direct import forks, frames
from denzel.direct.place import Place
from denzel.record import EndedTask
from denzel.timings import UNKNOWN, CallTimes

# Seconds that an API process which reads nothing may hold this process up.
_PATIENCE = 2.0
# Seconds within which API processes are to close their connections when they are told that this process ends.
_FAREWELL = 0.5
_PIECE = 1 << 20
_BUFFER = 4 << 20  # asked for; the system may grant less


@dataclass(eq=False, slots=True)
class _Connection:
    """An API process.

    Attributes:
        seen: how many tasks it has sent.
        open: answers can be sent.
    """

    socket: socket.socket
    slot: int
    reader: frames.Reader = field(default_factory=frames.Reader)
    seen: int = 0
    open: bool = True


@dataclass(eq=False, slots=True)
class DirectTask:
    """A task that came directly."""

    id: str
    request: bytes
    origin: str
    _connection: _Connection
    _number: int


class Door:
    """Listens at a socket of its own; `fileno` is readable when there is something to do.

    Args:
        place: the folder.
        token: this life of this process.
        node: the name that /status shows.
        merges: whether requests are merged.
        model: the version of its model; empty where that has none.

    Attributes:
        lost: tasks were given up since an API process has gone; some may be in the process's claims.
    """

    def __init__(self, place: Place, token: str, node: str, merges: bool, model: str = "") -> None:
        self.lost = False
        self._place, self._token = place, token
        self._hello = {"node": node, "merges": merges, "model": model}
        self._selector = selectors.DefaultSelector()
        self._connections: dict[int, _Connection] = {}  # by slot
        self._waiting: deque[DirectTask] = deque()
        self._page = self._create_page()
        self._lock = os.open(place.folder / f"{token}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.pwrite(self._lock, b"0", 0)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.setblocking(False)
        self._listener.bind(place.socket(token))
        self._listener.listen(128)
        self._selector.register(self._listener, selectors.EVENT_READ)
        forks.close_in_children(self)

    def _create_page(self) -> mmap.mmap:
        fd = os.open(self._place.folder / f"{self._token}.page", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(fd, bytes(frames.PAGE_SIZE), 0)  # a full disk is told here, and not by a signal later
            return mmap.mmap(fd, frames.PAGE_SIZE)
        finally:
            os.close(fd)

    def fileno(self) -> int:
        """A descriptor that is readable when tasks have come, or connections."""
        return self._selector.fileno()

    def descriptors(self) -> list[int]:
        """All that a child of this process must not hold open."""
        if self._lock < 0:
            return []
        sockets = [connection.socket for connection in self._connections.values()]
        return [self._lock, self._selector.fileno(), *(s.fileno() for s in (self._listener, *sockets))]

    def wait(self, seconds: float, other: int | None = None) -> bool:
        """Wait until tasks have come or `other`, a descriptor, is readable; whether it is that."""
        if self._waiting:
            seconds = 0.0
        if other is not None:
            self._selector.register(other, selectors.EVENT_READ)
        try:
            return self._read(max(0.0, seconds), other)
        finally:
            if other is not None:
                self._selector.unregister(other)

    def _read(self, seconds: float, other: int | None = None) -> bool:
        found = False
        for key, _ in self._selector.select(seconds):
            if key.fd == other:
                found = True
            elif key.fileobj is self._listener:
                self._accept()
            else:
                self._receive(key.data)
        return found

    @property
    def waiting(self) -> int:
        """How many tasks have come and were not taken yet."""
        return len(self._waiting)

    def has_tasks(self) -> bool:
        """Whether there is something to take."""
        self._read(0.0)
        return bool(self._waiting)

    def take(self, portion: Callable[[int], int]) -> list[DirectTask]:
        """The next tasks; they have begun.

        Args:
            portion: how many of so many to take.
        """
        self._read(0.0)
        taken: list[DirectTask] = []
        most = portion(len(self._waiting)) if self._waiting else 0
        while self._waiting and len(taken) < most:
            task = self._waiting.popleft()
            if frames.begin(self._page, task._connection.slot, task._number):
                taken.append(task)
            else:
                self._send(task._connection, frames.frame(frames.REFUSED, task.id.encode()))
        return taken

    def tell_call(self, tasks: int) -> None:
        """Let API processes know how many tasks the call has that is about to run."""
        frames.set_in_call(self._page, tasks)

    def tell_running(self, running: bool) -> None:
        """Let API processes know whether the pipeline is called just now, and since when."""
        frames.set_running(self._page, running)

    def answer(
        self,
        tasks: Sequence[DirectTask],
        ended: Sequence[EndedTask],
        seconds: float,
        in_next: int,
        times: CallTimes = UNKNOWN,
    ) -> list[EndedTask]:
        """Tell how tasks of one call ended, in the same order; those that nobody could be told of.

        Args:
            seconds: that the call took.
            in_next: how many tasks the next call would have if many waited.
            times: of the call.
        """
        by_connection: dict[_Connection, list[EndedTask]] = {}
        for task, ending in zip(tasks, ended, strict=True):
            by_connection.setdefault(task._connection, []).append(ending)
        untold: list[EndedTask] = []
        for connection, told in by_connection.items():
            if connection.open:
                frame = frames.ended(seconds, told, len(tasks), in_next, times.process, times.predict)
                self._send(connection, frame)
            if not connection.open:
                untold += told
        return untold

    def has_slow_work(self) -> bool:
        """Whether an API process has given this one slow work, or is about to."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        fcntl.flock(self._lock, fcntl.LOCK_UN)
        return False

    def set_busy(self, busy: bool) -> None:
        """Say whether this process is at slow work that came through the queue."""
        with contextlib.suppress(OSError):
            os.pwrite(self._lock, b"1" if busy else b"0", 0)

    def close(self) -> None:
        """Take nothing more: what was not answered goes through the queue."""
        if self._lock < 0:
            return
        self._place.remove(self._token)
        self._selector.unregister(self._listener)
        self._listener.close()
        for connection in list(self._connections.values()):
            self._send(connection, frames.frame(frames.BYE))
        # An API process that sends something meanwhile would find the connection broken, and not read the answers.
        until = time.monotonic() + _FAREWELL
        while self._connections and (left := until - time.monotonic()) > 0:
            self._read(left)
        for connection in list(self._connections.values()):
            self._drop(connection)
        self._selector.close()
        os.close(self._lock)
        self._lock = -1

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            accepted, _ = self._listener.accept()
            slot = next((slot for slot in range(frames.MOST_SLOTS) if slot not in self._connections), None)
            if slot is None:
                accepted.close()
                return
            accepted.setblocking(False)
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                accepted.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
            connection = self._connections[slot] = _Connection(accepted, slot)
            frames.clear(self._page, slot)
            self._selector.register(accepted, selectors.EVENT_READ, connection)
            self._send(connection, frames.frame(frames.HELLO, json.dumps({**self._hello, "slot": slot}).encode()))

    def _receive(self, connection: _Connection) -> None:
        """Read all that has come by now."""
        data: Any = b""
        while True:
            try:
                data = connection.socket.recv(_PIECE)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                return self._drop(connection)
            for kind, body in connection.reader.feed(data):
                if kind == frames.TASK:
                    connection.seen += 1
                    self._waiting.append(DirectTask(*frames.parse_task(body), connection, connection.seen))
                elif kind == frames.RECALL:
                    self._forget(connection, body.decode())

    def _forget(self, connection: _Connection, recalled: str) -> None:
        """An API process has recalled a task."""
        self._waiting = deque(task for task in self._waiting if task.id != recalled)
        if not any(task._connection is connection for task in self._waiting):
            frames.pass_by(self._page, connection.slot, connection.seen)

    def _send(self, connection: _Connection, data: bytes) -> None:
        until = time.monotonic() + _PATIENCE
        left = memoryview(data)
        poll = select.poll()
        poll.register(connection.socket, select.POLLOUT)
        try:
            while left:
                try:
                    left = left[connection.socket.send(left) :]
                except BlockingIOError:
                    if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
                        raise TimeoutError from None
        except OSError:
            frames.clear(self._page, connection.slot)  # no task is to blame
            self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        if not connection.open:
            return
        connection.open = False
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(connection.socket)
        connection.socket.close()
        del self._connections[connection.slot]
        left = deque(task for task in self._waiting if task._connection is not connection)
        self.lost = self.lost or len(left) < len(self._waiting)
        self._waiting = left
