"""How many tasks of a pipeline that merges should be claimed at once: follows the measured duration of its calls.

Many in one call save time for each, as far as the model is vectorised; too many make a task wait behind others that
another process could have run. So the number grows while a full batch stays short, and beyond that only where a
larger batch makes each task cheaper.
"""

from __future__ import annotations

# A batch that takes less than this (seconds) is short: what waits behind it hardly notices.
TARGET = 0.010
# Single calls of a slow pipeline after which it is asked again whether larger batches pay.
_ASK_AGAIN_AFTER = 64


class BatchSize:
    """The number of tasks to claim next; told how long each batch took.

    Args:
        most: never more than this.
    """

    def __init__(self, most: int) -> None:
        self.limit = 1
        self._most = most
        self._seconds_per_task: dict[int, float] = {}  # by the power of two that the batch size lies in
        self._singles_until_asked = 0
        self._slow = False

    @property
    def takes_fair_share(self) -> bool:
        """Whether to leave the other processes their part of what waits: one short call does it all cheaper."""
        return self._slow

    def record(self, tasks: int, seconds: float) -> None:
        """Learn from a batch: how many tasks it had, and how many seconds it took."""
        power = tasks.bit_length()
        each = seconds / tasks
        known = self._seconds_per_task.setdefault(power, each)
        self._seconds_per_task[power] = known + (each - known) / 4
        self._slow = seconds > TARGET
        if not self._slow:
            if seconds <= TARGET / 2:
                self._grow(tasks)
        elif tasks == 1:
            self._singles_until_asked -= 1
            self.limit = min(self._most, 2) if self._singles_until_asked < 0 else 1
        elif self._pays(power):
            self._grow(tasks)
        else:
            self.limit = tasks // 2
            self._singles_until_asked = _ASK_AGAIN_AFTER

    def _grow(self, tasks: int) -> None:
        if tasks >= self.limit:
            self.limit = min(self._most, self.limit * 2)

    def _pays(self, power: int) -> bool:
        """Whether batches of this size cost clearly less for each task than those of half the size."""
        half = self._seconds_per_task.get(power - 1)
        return half is None or self._seconds_per_task[power] < 0.75 * half
