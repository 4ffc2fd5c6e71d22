"""How fast a process works off what waits: measured while it works, kept while it is idle.

Speed is tasks divided by the seconds of work on them, both as sums that fade: so calls of any mixture of durations
count by the time that they take. The sums fade with seconds of work, never with idle time, and reach back _MEMORY
seconds or _CALLS calls, whichever is longer. A single call that takes _OUTLIER times as long as usual counts as just
that; the next one such is believed.

Where requests are merged, speed depends on how many there are. What matters is how fast a queue gets shorter, so calls
count that left tasks waiting or were as large as they get. Of others, as long as nothing better is known, it is
assumed that a full call would have taken no longer, which is what a model with a fixed cost does; a model without
one is estimated too high until its first full calls, too low never.
"""

from __future__ import annotations

import math

_MEMORY = 2.0
_CALLS = 4.0
# How many times its usual duration a call may take before that is held for an exception.
OUTLIER = 10.0


class Speed:
    """The speed of one process; told how many tasks were done in how many seconds of work.

    Attributes:
        tasks_per_second: while it works; 0 while nothing is known.
        seconds_per_call: the mean; 0 while nothing is known.
    """

    def __init__(self) -> None:
        self.tasks_per_second = self.seconds_per_call = 0.0
        self._tasks = self._calls = self._seconds = 0.0
        self._guessed = False
        self._last_was_outlier = False

    def record(self, tasks: int, seconds: float, most: int, left_waiting: bool) -> None:
        """Learn from a call.

        Args:
            tasks: that it had.
            seconds: from when they were claimed to when their outcomes were stored.
            most: tasks that it might have had.
            left_waiting: further tasks waited when it began.
        """
        seconds = max(seconds, 1e-6)
        representative = left_waiting or tasks >= most
        if not representative:
            if self._calls and not self._guessed and tasks / seconds <= self.tasks_per_second:
                return
            tasks = max(tasks, most)
        if self._guessed == representative or not self._calls:
            self._tasks = self._calls = self._seconds = 0.0
            self._guessed = not representative
        usual = self.seconds_per_call if self._calls else math.inf
        outlier = seconds > OUTLIER * usual
        if outlier and not self._last_was_outlier:
            seconds = OUTLIER * usual
        self._last_was_outlier = outlier
        fade = math.exp(-seconds / max(_MEMORY, _CALLS * usual)) if self._calls else 0.0
        self._tasks = self._tasks * fade + tasks
        self._calls = self._calls * fade + 1
        self._seconds = self._seconds * fade + seconds
        self.tasks_per_second = self._tasks / self._seconds
        self.seconds_per_call = self._seconds / self._calls


def speed_of_all(processes: list[tuple[float, float, float]]) -> tuple[float, float]:
    """Tasks per second of all processes together, and the mean seconds per call; 0, 0 while nothing is known.

    Args:
        processes: of each that serves its speed, its seconds per call, and for how many seconds it has been in the call
            that it is in now. One of which nothing is known counts as the others do; one whose call takes far longer
            than usual is as much slower.
    """
    known = [(speed, call, busy) for speed, call, busy in processes if speed > 0]
    if not known:
        return 0.0, 0.0
    speeds = [speed * min(1.0, OUTLIER * call / busy) if busy > 0 else speed for speed, call, busy in known]
    return sum(speeds) / len(known) * len(processes), sum(call for _, call, _ in known) / len(known)
