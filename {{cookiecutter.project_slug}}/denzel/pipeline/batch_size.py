"""How many tasks of a pipeline that merges should be claimed at once, by what its calls were measured to take.

The model: a call of n tasks takes `start + each * n` seconds. Where n tasks wait for a process that runs them in calls
of k, each call delays all that come after it, and the sum of the times at which the tasks are done is

    n**2 / 2 * (start / k + each) + n / 2 * (start + each * k)

which is least at k = sqrt(n * start / each): the square-root rule of lot sizes (F. W. Harris, "How many parts to make
at once", 1913), where the start of a call is the set-up and waiting is the stock. Where `start` is nothing, each task
runs alone; where `each` is nothing, all that waits is one call. n is a process's share of what waits. Only Redis knows
it, as the tasks are claimed (`queue/lua/claiming.lua`): what is told here is the ratio.

The rule knows nothing of what comes later. Under lasting load larger calls would let less wait, and near its minimum
the sum is flat: so twice as many are taken, as long as that leaves the other processes their share.

Assumed is that tasks are alike (that they differ is noise), that the processes are, and that costs are linear near the
sizes in use. Where they are not, as beyond a cache or at the step of a GPU, sizes at which a task costs more than in
smaller calls are left out.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

# As many tasks as take less than this by themselves (seconds) are claimed in any case: for others to take them gains no
# more than that.
SHORT = 0.001
# Never more tasks than this where it takes them less than that (seconds): it is more than an API process can send. All
# clients would wait for the same call, and the API would have nothing to do meanwhile.
MANY, SOON = 32, 0.005
# What a call costs besides the pipeline (seconds): claiming, storing, replying.
OVERHEAD = 0.0002
# Calls of about the same size whose median counts: so no garbage collection, frozen process or first call does.
_KEPT = 16
# Calls after which what was measured is old, and asked again.
_OLD = 128
# Of the calls whose size is known, one in so many is followed by new conclusions: these take some 30 microseconds.
_CONCLUDE_AFTER = 8
# Calls of a size before it is ruled out, or known to have changed.
_ENOUGH = 3
# When as many calls in a row took this much more or less than before, what was before counts no longer.
_CHANGED = 2
# A task costs more than in smaller calls if it does so by this factor.
_DEARER = 1.1
# The start of a call is worth no merging if it takes less than this part of a task: merged tasks have a price of their
# own (one time limit for all, and when one fails all run again).
_NEGLIGIBLE = 0.1
# Sizes tell the start from the tasks if they differ by this factor.
_APART = 1.5
_UNLIMITED = 1e6


class Plan(NamedTuple):
    """What a process claims.

    Attributes:
        most: never more tasks than this.
        at_once: as many as this in any case.
        ratio: how many tasks take as long as the start of a call.
    """

    most: int = 1
    at_once: int = 1
    ratio: float = 0.0

    def portion(self, waiting: int, processes: int = 1) -> int:
        """The most tasks to claim of those that wait for all processes; `portion` in claiming.lua is the same."""
        share = waiting / processes
        best = math.sqrt(share * self.ratio)
        return min(self.most, max(self.at_once, math.floor(max(best, min(2 * best, share)) + 0.5)))


class _Size:
    """The latest calls with about the same number of tasks.

    Attributes:
        last: the number of the last call.
        tasks: the median.
        seconds: the median.
    """

    def __init__(self) -> None:
        self.last = self.tasks = 0
        self.seconds = 0.0
        self._tasks: deque[int] = deque(maxlen=_KEPT)
        self._seconds: deque[float] = deque(maxlen=_KEPT)

    def __len__(self) -> int:
        return len(self._tasks)

    def add(self, tasks: int, seconds: float, call: int) -> bool:
        """Whether calls have changed: then what was known of other sizes counts no longer, either."""
        if call - self.last > _OLD:
            self._forget()
        self._tasks.append(tasks)
        self._seconds.append(max(seconds, 1e-6))
        self.last = call
        latest = list(self._seconds)[-_ENOUGH:]
        if _CHANGED * max(latest) >= self.seconds >= min(latest) / _CHANGED:
            return False
        self._forget(but=_ENOUGH)
        return len(latest) == _ENOUGH

    def _forget(self, but: int = 0) -> None:
        while len(self) > but:
            self._tasks.popleft()
            self._seconds.popleft()

    def learn(self) -> None:
        """Find the medians."""
        middle = (len(self) - 1) // 2
        self.tasks, self.seconds = sorted(self._tasks)[middle], sorted(self._seconds)[middle]

    @property
    def most(self) -> int:
        return max(self._tasks)

    @property
    def seconds_per_task(self) -> float:
        return (self.seconds + OVERHEAD) / self.tasks


# By the power of two that the number of tasks does not exceed.
_Sizes = dict[int, _Size]


class BatchSize:
    """The number of tasks to claim next; told how long each batch took.

    Args:
        most: never more than this; 1 for a pipeline that does not merge.
        longest: the longest call that tasks are merged for (seconds).

    Attributes:
        plan: what to claim next.
    """

    def __init__(self, most: int, longest: float = math.inf) -> None:
        self.plan = Plan()
        self._most = most
        self._longest = longest
        self._start = self._each = 0.0
        self._sizes: _Sizes = {}
        self._calls = 0
        self._concluded = 0  # the last call when conclusions were drawn
        self._known = 0  # the last call when recent sizes told the start from the tasks
        self._near = 0.0  # the power of two in use: a moving mean

    def record(self, tasks: int, seconds: float) -> None:
        """Learn from a batch: how many tasks it had, and how many seconds it took."""
        self._calls += 1
        power = (tasks - 1).bit_length()
        size = self._sizes.setdefault(power, _Size())
        if size.add(tasks, seconds, self._calls):
            self._sizes = {power: one for power, one in self._sizes.items() if self._calls - one.last < _KEPT}
        self._near += (power - self._near) / 8
        if self._most > 1 and (len(size) < _KEPT or self._calls % _CONCLUDE_AFTER == 0):
            self._learn()

    def expected(self, tasks: int) -> float:
        """How long a call of this many tasks is expected to take (seconds); 0 while nothing is known."""
        return self._start + self._each * tasks

    def worth_waiting(self, tasks: int, arrivals_per_second: float) -> bool:
        """Whether tasks that could run now should wait a moment for others to join their call.

        A second of waiting delays each of them by a second, and by `each` for all that join. These need not wait
        for a call with a start of its own. So it is worth it if arrivals * start > tasks * (1 + arrivals * each).
        """
        return arrivals_per_second * (self._start - self._each * tasks) > tasks

    def _learn(self) -> None:
        for size in self._sizes.values():
            if size.last > self._concluded:
                size.learn()
        self._concluded = self._calls
        sizes, most, is_bound = self._worthwhile()
        recent = {power: size for power, size in sizes.items() if self._is_recent(size)}
        if is_bound or _are_apart({power: size for power, size in recent.items() if len(size) >= _ENOUGH}):
            self._known = self._calls
        is_told = _are_apart(sizes)
        if is_told:
            self._start, self._each = self._fit(sizes)
            start, each = self._start, max(self._each, 1e-9)
            ratio = min(_UNLIMITED, (start + OVERHEAD) / each)
            ratio = ratio if ratio > _NEGLIGIBLE else 0.0
        else:  # all of it may be the start, or nothing: claims are as if it were, and bounds as if not
            largest = sizes[max(sizes)]
            self._start, self._each = largest.seconds, 0.0
            start, each, ratio = 0.0, largest.seconds / largest.tasks, _UNLIMITED
        at_once = min(SHORT / each, MANY)
        if is_bound or is_told:
            at_once = min(at_once, most)
        if recent:
            largest = recent[max(recent)]
            # Ask what half as many take, or two, where nothing else tells the start from the tasks.
            half = largest.most // 2 or 2
            if half > at_once and (self._calls - self._known >= _OLD or (not is_told and half < largest.most)):
                most, ratio = half, _UNLIMITED
            elif ratio < largest.most and len(largest) < _ENOUGH:  # ask once more, before this is believed
                most, ratio = largest.most, _UNLIMITED
        most = MANY if most > MANY and self.expected(MANY) < SOON else most
        bound = min(self._most, max(at_once, most), (self._longest - start) / each)
        self.plan = Plan(max(1, int(bound)), max(1, int(min(bound, at_once))), round(ratio, 3))

    def _worthwhile(self) -> tuple[_Sizes, int, bool]:
        """The sizes but for those that are ruled out, the most tasks to claim, and whether that is bound by these."""
        cheapest = min(self._sizes, key=lambda power: self._sizes[power].seconds_per_task)
        limit = _DEARER * self._sizes[cheapest].seconds_per_task
        dearer = [
            power
            for power, size in self._sizes.items()
            if power > cheapest and len(size) >= _ENOUGH and size.seconds_per_task > limit
        ]
        if not dearer:
            return self._sizes, 2 * max(size.most for size in self._sizes.values()), False
        first = min(dearer)
        is_bound = any(self._is_recent(self._sizes[power]) for power in dearer)
        most = 2 ** (first - 1 if is_bound else first)
        return {power: size for power, size in self._sizes.items() if power < first}, most, is_bound

    def _is_recent(self, size: _Size) -> bool:
        return self._calls - size.last < _OLD

    def _fit(self, sizes: _Sizes) -> tuple[float, float]:
        """Start and each, neither below 0: least squares of relative errors; sizes near those in use weigh more."""
        xx = xy = yy = x1 = y1 = 0.0
        for power, size in sizes.items():
            age = min(10.0, (self._calls - size.last) / _OLD)
            weight = len(size) * 0.7 ** abs(power - self._near) * 0.5**age
            x, y = 1 / size.seconds, size.tasks / size.seconds
            xx, xy, yy = xx + weight * x * x, xy + weight * x * y, yy + weight * y * y
            x1, y1 = x1 + weight * x, y1 + weight * y
        determinant = xx * yy - xy * xy
        if determinant > 1e-9 * xx * yy:
            start, each = (x1 * yy - y1 * xy) / determinant, (y1 * xx - x1 * xy) / determinant
            if start >= 0 and each >= 0:
                return start, each
        # The better one of all start and no start.
        return (x1 / xx, 0.0) if x1 * x1 * yy > y1 * y1 * xx else (0.0, y1 / yy)


def _are_apart(sizes: _Sizes) -> bool:
    """Whether they tell the start of a call from its tasks."""
    tasks = [size.tasks for size in sizes.values()]
    return bool(tasks) and max(tasks) >= _APART * min(tasks)
