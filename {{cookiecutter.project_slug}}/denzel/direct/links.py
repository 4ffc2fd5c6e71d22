"""An API process's side: it keeps a connection to each prediction process of this machine, and gives them tasks."""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import mmap
import os
import socket
import time
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, field

from denzel.direct import forks, frames
from denzel.direct.given import LARGE, Given
from denzel.direct.place import Place
from denzel.metrics.counts import COUNTS
from denzel.record import Ending
from denzel.timings import UNKNOWN, CallTimes

log = logging.getLogger("denzel.api")

# A process that merges may be given tasks during a call that takes less (seconds): they make up the next one.
_BEARABLE = 0.1
# A large request waits for a process as long as that has less to do than this (seconds).
_WORTH_STORING = 0.1
# Seconds after which a task that has not begun goes another way, at least; at most, unless it is to be merged.
_RECALL_AFTER, _RECALL_BEFORE = 0.010, 0.020
_LOOK_EVERY = 0.5  # seconds between two looks for processes that have come
_BUFFER = 4 << 20


class Link(asyncio.Protocol):
    """The connection to one prediction process.

    Attributes:
        given: the tasks that it has not answered, by id.
        token: the life of the process.
        node: the name that /status shows.
        times: of the call that it has told the end of last.
    """

    def __init__(self, links: Links, token: str) -> None:
        self.given: dict[str, Given] = {}
        self.times = UNKNOWN
        self.token = token
        self.node = self.model = ""
        self.is_open = False
        self._links = links
        self._transport: asyncio.Transport | None = None
        self._reader = frames.Reader()
        self._merges = False
        self._slot = 0
        self._sent = 0
        self._in_next = 1
        self._shunned_until = 0.0  # on the event loop's clock: it has let tasks lie
        self._call = frames.SHORT  # seconds of a call: not short, as long as nothing is known; follows the last ones
        self._page: mmap.mmap | None = None
        self._lock = -1
        self._locked = False
        self._timer: asyncio.TimerHandle | None = None

    # ---- What it can be given ------------------------------------------------------------------------------

    @property
    def is_slow(self) -> bool:
        """Whether its calls are not short."""
        return self._call >= frames.SHORT

    def takes_more(self) -> bool:
        """Whether one more task would begin within a moment."""
        if not self._has_room:
            return False
        if self._merges and self.given and not self._locked:  # its calls were short, and may be about to be not
            return self._call < 2 * frames.SHORT
        if not self.is_slow:
            return not self.given or (self._call if self._merges else self._call * len(self.given)) < frames.SHORT
        return not self.given and not (self._merges and self._running) and self._take_lock()

    def takes_large(self) -> bool:
        """Whether one more large task does better to wait here than to be stored in Redis and read again."""
        return self._has_room and self.seconds_ahead < _WORTH_STORING

    @property
    def _has_room(self) -> bool:
        """Whether it may be given anything: it takes what it is given, and reads what is sent."""
        return (
            self.is_open
            and len(self.given) < frames.MOST_TASKS
            and self._sent - self._begun < frames.MOST_TASKS
            and self._links.loop.time() >= self._shunned_until
            and self._transport is not None
            and self._transport.get_write_buffer_size() < _BUFFER
        )

    @property
    def seconds_ahead(self) -> float:
        """How long what it has been given may take."""
        return self._call * (bool(self.given) if self._merges else len(self.given))

    @property
    def _running(self) -> float:
        """For how long a call has run that runs there, whoever's it is (seconds); 0: none does."""
        return frames.running(self._page) if self._page else 0.0

    def seconds_until_next(self) -> float | None:
        """When a call would begin that one more task is merged into; None where tasks do not wait for calls.

        A call that takes longer than the last ones may take as long again: its process may be frozen.
        """
        if not self._has_room or self._in_next <= 1 or self._call >= _BEARABLE:
            return None
        if not self._locked and self._is_busy:
            return None
        ran = self._running
        full_calls = (self._sent - self._begun) // self._in_next
        return (abs(self._call - ran) if ran else 0.0) + full_calls * self._call

    @property
    def _is_busy(self) -> bool:
        """Whether slow tasks of the queue run there, or wait for it."""
        return os.pread(self._lock, 1, 0) == b"1"

    def _take_lock(self) -> bool:
        """Be the one API process that gives it work to begin with, unless it is at work for the queue.

        What is merged joins calls without that.
        """
        if self._locked:
            return True
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        self._locked = True
        if self._is_busy:
            self._release_lock()
        return self._locked

    def _release_lock(self) -> None:
        if self._locked:
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            self._locked = False

    # ---- Giving and taking back ----------------------------------------------------------------------------

    def give(
        self, task_id: str, request: bytes, accepted: float, origin: str = "", verify: float | None = None
    ) -> Given:
        """Send a task."""
        assert self._transport
        self._sent += 1
        now = self._links.loop.time()
        given = self.given[task_id] = Given(task_id, request, self, now, accepted, origin, verify, self._sent)
        self._transport.writelines(frames.task(task_id, request, origin))
        if self._timer is None:
            self._look_again(_RECALL_AFTER)
        return given

    def _look_again(self, seconds: float) -> None:
        # In a context of its own: the next look is at other requests' tasks, too.
        self._timer = self._links.loop.call_later(seconds, self._look, context=Context())

    def _look(self) -> None:
        """Take back what does not begin, and tell of what takes long."""
        self._timer = None
        now = self._links.loop.time()
        patience = max(_RECALL_AFTER, 2 * min(self._call, _BEARABLE if self._in_next > 1 else _RECALL_BEFORE / 2))
        patience_for_large = max(patience, 2 * _WORTH_STORING)
        begun = self._begun
        for given in list(self.given.values()):
            is_late = now - given.sent > (patience_for_large if given.is_large else patience)
            if given.number > begun and is_late and self._recall(given):
                self._shunned_until = now + 10 * patience
                self._links.on_return(given)
            elif now - max(given.sent, given.told_long) > self._links.long and given.number <= begun:
                given.told_long = now
                self._links.on_long(given)
        if self.given:
            self._look_again(min(patience, 0.05))
        else:
            self._release_lock()

    def take_back(self, task_id: str) -> bool:
        """Take back a task that nobody waits for; False when it has begun."""
        given = self.given.get(task_id)
        if given is None or not self._recall(given):
            return False
        if not self.given:
            self._release_lock()
        return True

    def _recall(self, given: Given) -> bool:
        """Whether the process will not run a task, which it does not have any more."""
        if not self._transport or not self._page or not frames.recall(self._page, self._slot, given.number):
            return False
        self._transport.write(frames.frame(frames.RECALL, given.id.encode()))
        del self.given[given.id]
        return True

    @property
    def _begun(self) -> int:
        """How many of the tasks that went over this connection have begun."""
        return frames.begun(self._page, self._slot) if self._page else 0

    def descriptors(self) -> list[int]:
        """Of the connection and the lock."""
        sock = self._transport.get_extra_info("socket") if self._transport else None
        return [fd for fd in (sock.fileno() if sock else -1, self._lock) if fd >= 0]

    # ---- The connection ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._shunned_until = 0.0
        for kind, body in self._reader.feed(data):
            if kind == frames.ENDED:
                self._take_answers(body)
            elif kind == frames.HELLO:
                self._begin(json.loads(body))
            elif kind == frames.REFUSED:
                if given := self.given.pop(body.decode(), None):
                    self._links.on_return(given)
            elif kind == frames.BYE:
                self._end(blame=False)
        if self._locked and not self.given:
            self._release_lock()

    def _begin(self, hello: dict) -> None:
        self.node, self.model = hello["node"], hello["model"]
        self._merges, self._slot = hello["merges"], hello["slot"]
        folder = self._links.place.folder
        try:
            fd = os.open(folder / f"{self.token}.page", os.O_RDWR | os.O_CLOEXEC)
            try:
                self._page = mmap.mmap(fd, frames.PAGE_SIZE)
            finally:
                os.close(fd)
            self._lock = os.open(folder / f"{self.token}.lock", os.O_RDWR | os.O_CLOEXEC)
        except (OSError, ValueError):
            self._end(blame=False)
        else:
            self.is_open = True

    def _take_answers(self, body: bytes) -> None:
        seconds, in_call, self._in_next, process, predict, answers = frames.parse_ended(body)
        self.times = CallTimes(process, predict, in_call, seconds, self.model)
        in_its_call = seconds
        if not self._merges:
            seconds /= in_call
        self._call += (seconds - self._call) * (0.5 if seconds > self._call else 0.25)
        now = time.time()  # the event loop's clock may count whole milliseconds
        for task_id, ending in answers:
            if given := self.given.pop(task_id, None):
                COUNTS.queued(max(0.0, now - given.accepted - in_its_call))
            try:
                self._links.on_end(task_id, self, ending)
            except Exception:  # the others of this frame have been answered, too
                log.exception("Task %s has ended, and its client could not be told", task_id)

    def connection_lost(self, error: Exception | None) -> None:
        self._end(blame=True)

    def _end(self, blame: bool) -> None:
        """The process takes and answers nothing more: give back what it has.

        Args:
            blame: it has died, perhaps of one of these tasks.
        """
        self.is_open = False
        self._links.drop(self)
        if self._timer:
            self._timer.cancel()
            self._timer = None
        left, self.given = list(self.given.values()), {}
        begun = self._begun
        suspects = [given for given in left if blame and given.number <= begun]
        fault = "death" if len(suspects) == 1 and self._page and frames.in_call(self._page) <= 1 else "alone"
        self._links.on_lost(self, [(given, fault if given in suspects else "") for given in left])
        if self._transport:
            self._transport.close()
        self._release_lock()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        if self._page:
            self._page.close()
            self._page = None


@dataclass(eq=False)
class Links:
    """Connections to all prediction processes of this machine, those that come later, too.

    Args:
        place: where they listen.
        long: seconds after which a running task is told of by `on_long`, again and again after as many.
        on_end: called with the id of a task that has ended, the link, and how it ended.
        on_return: called with a task that has not begun soon, and is not going to.
        on_lost: called when a process takes and answers nothing more, with the link and the tasks that it had, each
            with what is to be said of it: "", "alone" (it must not run together with others again) or "death" (its
            process died of it).
        on_long: called with a task that runs for long.
    """

    place: Place
    long: float
    on_end: Callable[[str, Link, Ending], None]
    on_return: Callable[[Given], None]
    on_lost: Callable[[Link, list[tuple[Given, str]]], None]
    on_long: Callable[[Given], None]
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _links: dict[str, Link] = field(default_factory=dict)

    def __post_init__(self) -> None:
        forks.close_in_children(self)

    def descriptors(self) -> list[int]:
        """All that a child of this process must not hold open."""
        return [fd for link in self._links.values() for fd in link.descriptors()]

    def choose(self, size: int) -> Link | None:
        """The process that would run one more task, of so many bytes, soonest; None where none would soon."""
        for link in self._links.values():
            if link.takes_more():
                return link
        if size >= LARGE:
            large = [link for link in self._links.values() if link.takes_large()]
            return min(large, key=lambda link: link.seconds_ahead) if large else None
        seconds = {link: link.seconds_until_next() for link in self._links.values()}
        along = {link: found for link, found in seconds.items() if found is not None}
        return min(along, key=lambda link: (along[link], len(link.given)), default=None)

    async def run(self) -> None:
        """Keep connected until cancelled."""
        gone: dict[str, int] = {}  # names that refuse connections, and how often
        while True:
            for name in sorted(self.place.names() - self._links.keys()):
                try:
                    await self._connect(name)
                except ConnectionRefusedError:
                    gone[name] = gone.get(name, 0) + 1
                    if gone[name] > 4:  # it has died without a word
                        self.place.remove(name)
                        del gone[name]
                except OSError:  # no descriptor is left, or its backlog is full: the next look may find it
                    pass
                else:
                    gone.pop(name, None)
            await asyncio.sleep(_LOOK_EVERY)

    async def _connect(self, name: str) -> None:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.setblocking(False)
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
            sock.connect(self.place.socket(name))
        except BaseException:
            sock.close()
            raise
        link = Link(self, name)
        self._links[name] = link
        try:
            await self.loop.create_unix_connection(lambda: link, sock=sock)
        except OSError:
            self.drop(link)

    def drop(self, link: Link) -> None:
        """Forget a process that takes nothing more."""
        if self._links.get(link.token) is link:
            del self._links[link.token]

    def close(self) -> None:
        """End all connections."""
        for link in list(self._links.values()):
            link.given.clear()
            link._end(blame=False)
        self.place.close()
