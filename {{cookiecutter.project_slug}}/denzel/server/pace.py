"""How fast a client sends requests and takes answers: when its connection is stuck, and when it can be spared."""

from __future__ import annotations

import fcntl
import struct
import sys
from collections import deque
from typing import Any

from denzel.server import keeper
from denzel.server.keeper import Bounds, Keeper

# Seconds over which a body's rate counts.
_SPAN = 10
# How readily connections can be spared: stuck ones, idle ones, slow bodies, slow readers.
_STUCK, _IDLE, _BODY, _READER = range(4)
# Seconds after which a reader that takes nothing can be spared.
_TAKES_NOTHING = 2.0
_SIOCOUTQ = 0x5411


class Paced:
    """What a connection tells of its pace; a part of the server's protocol.

    Attributes:
        since: when what it does now began, by `Keeper.now`: the connection, the time without a request, a head, a body.
        body_bytes: that have come of the body which is being read.
        lingering: all is answered, what still comes is dropped.
        number: it is the keeper's so-manyth connection.
    """

    since = 0.0
    body_bytes = 0
    lingering = False
    number = 0
    # Of the server's protocol.
    transport: Any
    flow: Any
    cycle: Any
    headers: Any
    keeper: Keeper
    in_head = False
    in_body = False
    # While a look has found a body that is being read: what had come at the last looks, oldest first.
    _came: deque[int] | None = None
    _came_of: Any = None  # the headers of that body's request
    _looked = 0.0
    # While a look has found an answer that is not sent yet: what the client had taken, and when.
    _taken = -1
    _taken_at = 0.0

    def judge(self, now: float, bounds: Bounds) -> str | None:
        """Why it is to be closed by now; None: it is not."""
        since_last_look, self._looked = now - self._looked, now
        unsent = self.transport.get_write_buffer_size()
        if not unsent:
            self._taken = -1
        elif self._unread(now, bounds, unsent):
            return keeper.UNREAD
        if self.lingering:
            return keeper.IDLE if self._body(now, since_last_look, bounds) else None
        if self.in_body:
            return self._body(now, since_last_look, bounds)
        self._came = None
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            self.since = now  # a request is under way
        elif self.in_head:
            if now - self.since > bounds.head:
                return keeper.HEAD
        elif cycle is None:
            if now - self.since > bounds.head:
                return keeper.SILENT
        elif now - self.since > bounds.idle and not unsent:
            return keeper.IDLE
        return None

    def rank(self, now: float) -> tuple[float, float, float] | None:
        """How readily it can be spared: those with the least rank go first; None: a request is under way."""
        cycle = self.cycle
        if self.lingering:
            return _STUCK, self.since, self.number
        if self.transport.get_write_buffer_size():
            is_stuck = self._taken >= 0 and now - self._taken_at > _TAKES_NOTHING
            return (_READER, self._taken_at, self.number) if is_stuck else None
        if self.in_body:
            if cycle.response_complete:
                return _STUCK, self.since, self.number
            return _BODY, self.body_bytes / (1 + now - self.since), self.number
        if cycle is None or (cycle.response_complete and self.in_head):
            return _STUCK, self.since, self.number
        return (_IDLE, self.since, self.number) if cycle.response_complete else None

    def _body(self, now: float, since_last_look: float, bounds: Bounds) -> str | None:
        if not self.lingering and (self.flow.read_paused or self._is_to_wait()):
            self.since += since_last_look  # its client can do nothing about that
            self._came = None
            return None
        if self._came is None or self._came_of is not self.headers:
            self._came, self._came_of = deque(maxlen=_SPAN + 1), self.headers
        came = self._came
        came.append(self.body_bytes)
        if len(came) > _SPAN and came[-1] - came[0] < bounds.body_rate * _SPAN:
            return keeper.BODY_RATE
        if bounds.body_pace and now - self.since > bounds.body_time + self._size(bounds.largest) / bounds.body_pace:
            return keeper.BODY_TIME
        return None

    def _is_to_wait(self) -> bool:
        """It has asked whether to send its body (Expect: 100-continue), and was not told yet."""
        return self.cycle.waiting_for_100_continue and not self.cycle.response_started

    def _size(self, largest: int) -> int:
        """Bytes of its body that give it time: those announced, else those that have come; no more than it may have."""
        for name, value in self.headers or ():
            if name == b"content-length" and value.isdigit():
                return min(int(value), largest)
        return min(self.body_bytes, largest)

    def _unread(self, now: float, bounds: Bounds, unsent: int) -> bool:
        """Whether the client takes too little of what is to be sent."""
        taken = self.transport.written - unsent - _in_kernel(self.transport)
        if self._taken < 0 or taken - self._taken >= max(1, bounds.body_rate * bounds.send):
            self._taken, self._taken_at = taken, now
        return now - self._taken_at > bounds.send


def _in_kernel(transport: Any) -> int:
    """Bytes that the system has taken over, and the client has not; 0 where it does not tell."""
    if sys.platform != "linux":
        return 0
    try:
        descriptor = transport.get_extra_info("socket").fileno()
        return struct.unpack("i", fcntl.ioctl(descriptor, _SIOCOUTQ, bytes(4)))[0]
    except (OSError, AttributeError):
        return 0
