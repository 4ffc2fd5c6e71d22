"""Which requests are let in when much waits, and when the others are to come again.

A synchronous request is refused when its answer would come later than its client waits: what waits before it, divided
by the measured speed, and one call. (A client that waits for less than one call takes is to get an id anyway: for it
the time until its task begins counts.) An asynchronous one is refused when its task would begin after MAX_WAIT_ASYNC.

Who is refused is told when to come again, so that those who obey find room: they come at a rate that is a part
(`RETURNING_SHARE`) of the speed, and they go before newcomers. A request that comes again is known by its content (a
digest), or by its Idempotency-Key; it is let in up to `FULL_PART` of its wait, newcomers only up to `RESERVED_PART`
while others have been told to come again. How many of those do come is measured, so that nobody waits for a place that
is kept for clients who have given up.

Where the queue is in Redis, `queue/lua/admission.lua` does the same; both are held against each other by a test. The
simulated clock of the tests is that of the arguments.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections import deque

# Parts of a client's wait that may be taken up by what waits before it. The rest is for the errors of the estimate.
FULL_PART = 0.9
RESERVED_PART = 0.75
# Tasks for which there is room between the two, however few have room at all.
PLACES = 1.5
# Of the speed, the part that is given to those who come again.
RETURNING_SHARE = 0.6
# Who comes again this much too early, or too late (seconds), is still known.
EARLY = 0.5
LATE = 5
# Where several were told to come again with the same request, nobody can say which of them is there, nor whether it
# is a newcomer. It has to come on time then, and does not count among those who have come again; what they are told
# is bounded (seconds), as the number of those who do come is not known.
LONGEST_FOR_SAME = 60
# Of a request, the bytes that its digest is made of, besides its length.
DIGEST_OF = 4096
# As many as this have come again, or have not, before that is believed; after `RATES_FADE` the counts are halved.
PRIOR = 5
RATES_FADE = 1000
# Not more than this are remembered. Of the others, whether they have come again is not known.
MOST_RETURNING = 20_000


class Refused(Exception):
    """A task that was not let in.

    Attributes:
        expected: seconds of work that wait before it.
        retry_after: whole seconds after which its client should try again.
    """

    def __init__(self, expected: float, retry_after: int) -> None:
        super().__init__(f"{expected:g} s of work wait already")
        self.expected = expected
        self.retry_after = retry_after


def why_refused(expected: float, limit: float, asynchronous: bool) -> str:
    """What a client is told.

    Args:
        expected: seconds of work that wait.
        limit: seconds for which the client waits, or for which an asynchronous task may.
    """
    work = f"{_seconds(expected)} s of work wait already"
    if asynchronous:
        return f"{work}, {limit:g} s at most may (MAX_WAIT_ASYNC)"
    if expected < limit:
        return f"{work} and others have been told to come again, your request waits {limit:g} s at most"
    return f"{work}, your request waits {limit:g} s at most"


def _seconds(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}".removesuffix(".0")


def budget(part: float, wait: float, call: float) -> float:
    """Seconds of waiting work that may lie before a task whose client waits, when this part of the wait is used."""
    return part * wait - (call if call < part * wait else 0.0)


def retry_after(expected: float, allowed: float, returning: float, speed: float) -> int:
    """Whole seconds after which a refused request finds room.

    Args:
        expected: seconds of work that wait.
        allowed: seconds of work that may wait before a newcomer.
        returning: how many of those who were told to come again are going to.
        speed: tasks per second.
    """
    return max(1, math.ceil(max(expected - allowed, returning / (RETURNING_SHARE * speed))))


def digest(request: bytes) -> str:
    """What a request is known by when it comes again."""
    text = str(len(request)).encode() + request[:DIGEST_OF]
    return hashlib.sha1(text, usedforsecurity=False).hexdigest()


class Admission:
    """Lets tasks in or refuses them, for a queue in this process. Times are seconds of any clock."""

    def __init__(self, max_wait_async: float) -> None:
        self._max_wait_async = max_wait_async
        self._due: dict[int, tuple[float, str]] = {}  # when those who were told to come again are to, and their digests
        self._by_due: list[tuple[float, int]] = []  # a heap
        self._numbers: dict[str, deque[int]] = {}  # by digest
        self._number = 0
        self._came = self._stayed_away = 0

    def check(self, now: float, request: bytes, wait: float, ahead: float, speed: float, call: float) -> None:
        """Refuse a task, or do nothing.

        Args:
            wait: seconds for which its client waits; 0: it is asynchronous.
            ahead: tasks before it.
            speed: tasks per second; 0: not known.
            call: seconds of a call.

        Raises:
            Refused: it would take too long.
        """
        if not speed or not ahead:
            return
        expected = ahead / speed
        if not wait:
            if expected > self._max_wait_async:
                raise Refused(expected, retry_after(expected, FULL_PART * self._max_wait_async, 0, speed))
            return
        full = budget(FULL_PART, wait, call)
        reserved = min(budget(RESERVED_PART, wait, call), full - PLACES / speed)
        if expected <= reserved:
            return
        self._forget_late(now)
        known = digest(request)
        if expected <= full and (not self._due or self._comes_again(now, known)):
            return
        some = (self._came + PRIOR) / (self._came + self._stayed_away + PRIOR)
        seconds = retry_after(expected, reserved, (len(self._due) + 1) * some, speed)
        if known in self._numbers and seconds > LONGEST_FOR_SAME:
            raise Refused(expected, max(LONGEST_FOR_SAME, math.ceil(expected - reserved)))
        self._remember(now + seconds, known)
        raise Refused(expected, seconds)

    def _forget_late(self, now: float) -> None:
        while self._by_due and self._by_due[0][0] < now - LATE:
            _, number = heapq.heappop(self._by_due)
            if number in self._due:
                self._stayed_away += 1
                self._take_out(number)
        if self._came + self._stayed_away > RATES_FADE:
            self._came //= 2
            self._stayed_away //= 2

    def _comes_again(self, now: float, known: str) -> bool:
        numbers = self._numbers.get(known)
        if not numbers or self._due[numbers[0]][0] > now + (EARLY if len(numbers) == 1 else 0):
            return False
        self._came += len(numbers) == 1
        self._take_out(numbers[0])
        return True

    def _take_out(self, number: int) -> None:
        _, known = self._due.pop(number)
        self._numbers[known].remove(number)
        if not self._numbers[known]:
            del self._numbers[known]

    def _remember(self, due: float, known: str) -> None:
        if len(self._due) < MOST_RETURNING:
            self._number += 1
            self._due[self._number] = due, known
            heapq.heappush(self._by_due, (due, self._number))
            self._numbers.setdefault(known, deque()).append(self._number)
