"""How many tasks a process should claim at once: follows the measured duration of the pipeline.

Claiming many saves round trips and lets them be merged into one call; claiming too many makes a task wait behind
another that a different process could have run. So the number grows while a full batch stays short, shrinks when it
takes long, and grows beyond that only where merging makes each task cheaper, as a vectorised model does.
"""

from __future__ import annotations

# A batch that takes less than this (seconds) is short: what waits behind it hardly notices.
TARGET = 0.010
# A slow pipeline that merges is asked again after so many batches whether larger ones pay.
_ASK_AGAIN_AFTER = 64


class BatchSize:
    """The number of tasks to claim next; told how long each batch took.

    Args:
        most: never more than this.
        merges: whether the tasks of a batch go through the model in one call.
    """

    def __init__(self, most: int, merges: bool) -> None:
        self.limit = 1
        self._most = most
        self._merges = merges
        self._seconds_per_task: dict[int, float] = {}  # by the power of two that the batch size lies in
        self._until_asked_again = 0
        self._slow = False

    @property
    def shares(self) -> bool:
        """Whether to leave other processes their part of what waits: always, unless one short call does it all."""
        return not self._merges or self._slow

    def record(self, tasks: int, seconds: float) -> None:
        """Learn from a batch of so many tasks that took so long."""
        power = tasks.bit_length()
        known = self._seconds_per_task.get(power)
        each = seconds / tasks
        self._seconds_per_task[power] = each if known is None else known + (each - known) / 4
        self._slow = seconds > TARGET
        if seconds <= TARGET / 2:
            if tasks >= self.limit:
                self.limit = min(self._most, self.limit * 2)
        elif seconds > TARGET:
            self._decide(power, tasks)

    def _decide(self, power: int, tasks: int) -> None:
        smaller = self._seconds_per_task.get(power - 1)
        if tasks == 1:
            self._until_asked_again -= 1
            self.limit = 2 if self._merges and self._until_asked_again < 0 else 1
        elif self._merges and smaller is not None and self._seconds_per_task[power] < 0.75 * smaller:
            if tasks >= self.limit:
                self.limit = min(self._most, self.limit * 2)
        elif not self._merges or smaller is not None:
            self.limit = max(1, min(self.limit, tasks) // 2)
            self._until_asked_again = _ASK_AGAIN_AFTER
