"""Pages of memory in which the processes of a container count, and what of it has been passed on.

Each process has a page of its own, so nobody waits for anybody, and no number is lost when a process is killed: its
page stays, and whoever has it next goes on counting there. One process at a time passes on what was counted since the
last time. Should it die over that, another one sends the very same once more, under the same number, by which it is
seen whether it has come already.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import tempfile
import uuid
from collections.abc import Sequence

from denzel.metrics.layout import FINGERPRINT, MILLIONTHS, NAMES, OWN, PID, SUMS

_VARIABLE = "DENZEL_METRICS_PAGE"
_NUMBERS = len(NAMES)
# Before the pages: the number of the last message and of the last one that arrived, then what had been counted by both.
_SENT, _ARRIVED = 0, 1
_SENT_TOTALS = 8
_ARRIVED_TOTALS = _SENT_TOTALS + _NUMBERS
_FIRST_PAGE = _ARRIVED_TOTALS + _NUMBERS
_PAGE = OWN + _NUMBERS
_DOUBLE = 8


class Pages:
    """The shared memory of a container.

    Attributes:
        source: who sends: a random name, for as long as the memory lives.
        fd: the memory's descriptor, to be inherited.
    """

    def __init__(self, fd: int, count: int) -> None:
        self.source = uuid.uuid4().hex
        self.fd = fd
        self.count = count
        self._memory = memoryview(mmap.mmap(fd, (_FIRST_PAGE + count * _PAGE) * _DOUBLE)).cast("d")

    @classmethod
    def create(cls, count: int) -> Pages:
        """Memory for so many processes, which nobody has counted in yet."""
        size = (_FIRST_PAGE + count * _PAGE) * _DOUBLE
        if hasattr(os, "memfd_create"):  # needs no disk, which may be full
            fd = os.memfd_create("denzel-metrics")
            os.truncate(fd, size)
            return cls(fd, count)
        with tempfile.TemporaryFile() as file:
            file.truncate(size)
            return cls(os.dup(file.fileno()), count)

    def environment(self, number: int) -> dict[str, str]:
        """What a child needs in its environment, besides the inherited descriptor, to find its page."""
        return {_VARIABLE: f"{self.fd} {self.count} {number} {FINGERPRINT}"}

    # ---- Pages ---------------------------------------------------------------------------------------------

    def own(self, number: int) -> memoryview[float]:
        """What a process tells of itself."""
        first = _FIRST_PAGE + number * _PAGE
        return self._memory[first : first + OWN]

    def counted(self, number: int) -> memoryview[float]:
        """What has been counted in a page."""
        first = _FIRST_PAGE + number * _PAGE + OWN
        return self._memory[first : first + _NUMBERS]

    def pids(self) -> dict[int, int]:
        """The processes that have pages, by the pages' numbers; some may have ended."""
        found = {number: int(self.own(number)[PID]) for number in range(self.count)}
        return {number: pid for number, pid in found.items() if pid}

    def totals(self) -> list[int]:
        """What all processes have counted, those that have ended too; sums in millionths.

        Whole numbers, of which sums and differences are exact: a total that fell by the last digit of a float would
        look like one that has begun anew.
        """
        pages = [self.counted(number).tolist() for number in self.pids()]
        if not pages:
            return [0] * _NUMBERS
        columns = enumerate(zip(*pages, strict=True))
        return [int(sum(column) * (MILLIONTHS if place in SUMS else 1)) for place, column in columns]

    # ---- Passing on ----------------------------------------------------------------------------------------

    def lock(self) -> bool:
        """Be the one process that passes on, until it ends or lets go; False when another one is."""
        try:
            fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def unlock(self) -> None:
        """Leave it to others."""
        fcntl.lockf(self.fd, fcntl.LOCK_UN)

    def message(self) -> tuple[int, dict[str, int]]:
        """The number of the next message, and what is new, by names; of one that may have arrived the same again.

        For the process that has the lock. Nothing new: an empty message, which has the last one's number.
        """
        header = self._memory
        if header[_SENT] == header[_ARRIVED]:
            totals = self.totals()
            if any(now > before for now, before in zip(totals, self._arrived_totals(), strict=True)):
                for place, number in enumerate(totals):
                    header[_SENT_TOTALS + place] = number
                header[_SENT] += 1  # from now on it is what is sent
        sent = header[_SENT_TOTALS : _SENT_TOTALS + _NUMBERS].tolist()
        news = {
            name: int(now - before)
            for name, now, before in zip(NAMES, sent, self._arrived_totals(), strict=True)
            if now != before
        }
        return int(header[_SENT]), news

    def arrived(self) -> None:
        """The last message has arrived."""
        header = self._memory
        header[_ARRIVED_TOTALS : _ARRIVED_TOTALS + _NUMBERS] = header[_SENT_TOTALS : _SENT_TOTALS + _NUMBERS]
        header[_ARRIVED] = header[_SENT]

    def _arrived_totals(self) -> Sequence[float]:
        return self._memory[_ARRIVED_TOTALS : _ARRIVED_TOTALS + _NUMBERS].tolist()


def inherited() -> tuple[Pages, int] | None:
    """The memory that the parent handed down, and the number of this process's page; None where there is none."""
    words = os.environ.pop(_VARIABLE, "").split()
    if len(words) != 4 or words[3] != FINGERPRINT:
        return None
    fd, count, number = map(int, words[:3])
    try:
        return Pages(fd, count), number
    except (OSError, ValueError):
        return None
