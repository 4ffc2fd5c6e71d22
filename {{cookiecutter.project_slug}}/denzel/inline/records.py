"""The tasks' records of the inline executor: in memory, bounded in number, in bytes and in time."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from denzel.executor import IDEMPOTENCY_EXPIRES, Outcome, Task
from denzel.memory import Share

# Ended tasks that /status remembers, at the most; and the bytes of their results.
MOST_RECORDS = 10_000
MOST_RECORD_BYTES = 256_000_000
# Idempotency keys that are remembered, at the most.
MOST_KEYS = 100_000


@dataclass(slots=True)
class Record:
    """A task and how it stands.

    Attributes:
        task: as it was submitted; its request is emptied when it has ended.
        mode: sync, async, or poll after a wait that ran out.
        done: gets the outcome.
        share: of the memory, for its request while that waits and runs.
        fields: what Redis would hold of it (`denzel.queue.store`), as far as /status shows it.
        expires: when it may be forgotten (CLOCK_MONOTONIC), once it has ended.
    """

    task: Task
    mode: str
    done: asyncio.Future[Outcome]
    share: Share
    fields: dict[bytes, bytes] = field(default_factory=dict)
    expires: float = 0.0


class Records:
    """All records by task id.

    Args:
        sync_expires: seconds that the record of an answered synchronous task lives.
        expires: seconds that the other records live after their end.
    """

    def __init__(self, sync_expires: float, expires: float) -> None:
        self._sync_expires = sync_expires
        self._expires = expires
        self._records: dict[str, Record] = {}
        # id -> bytes, oldest first; those apart that are kept for long
        self._ended: dict[bool, OrderedDict[str, int]] = {False: OrderedDict(), True: OrderedDict()}
        self._ended_bytes = 0
        self._keys: OrderedDict[str, tuple[str, str, float]] = OrderedDict()  # marks -> id, digest, end

    def add(self, task: Task, mode: str) -> Record:
        """The record of a task that has come. Raises NoRoom."""
        share = Share()
        share.take(len(task.request))
        record = Record(task, mode, asyncio.get_running_loop().create_future(), share)
        self._records[task.id] = record
        record.fields = {
            b"status": b"PENDING",
            b"mode": mode.encode(),
            b"accepted": now(),
            b"callback_uri": (task.callback_uri or "").encode(),
        }
        if task.verify is not None:
            record.fields[b"verify"] = b"%d" % (task.verify * 1e6)
        return record

    def get(self, task_id: str) -> Record | None:
        """The record of this task, None when it is unknown or forgotten."""
        return self._records.get(task_id)

    def reserve(self, mark: str, digest: str, task_id: str) -> tuple[str, str]:
        """Bind an idempotency key, known by its mark, to a task; the id and the digest that it is bound to now.

        A key lives for a day, and while fewer than MOST_KEYS are younger.
        """
        moment = time.monotonic()
        self._forget_keys(moment, MOST_KEYS - 1)
        known_id, known_digest, _ = self._keys.setdefault(mark, (task_id, digest, moment + IDEMPOTENCY_EXPIRES))
        return known_id, known_digest

    def release(self, mark: str, task_id: str) -> None:
        """Unbind a key from a task that was refused."""
        if task_id not in self._records and self._keys.get(mark, ("",))[0] == task_id:
            del self._keys[mark]

    def end(self, record: Record, status: str, result: bytes, message: bytes) -> None:
        """Write down how a task has ended; from now on its record can expire."""
        record.task.request = b""
        record.share.release()
        # A copy: small ones from orjson keep their buffer, 4 kB.
        result = bytes(memoryview(result))
        record.fields.update({b"status": status.encode(), b"result": result, b"message": message, b"ended": now()})
        kept = record.mode != "sync" or record.task.kept
        record.expires = time.monotonic() + (self._expires if kept else self._sync_expires)
        self._ended[kept][record.task.id] = len(result)
        self._ended_bytes += len(result)

    def forget_expired(self) -> None:
        """Drop what has expired, and the oldest of what is too much."""
        moment = time.monotonic()
        self._forget_keys(moment, MOST_KEYS)
        for ended in self._ended.values():
            while ended and self._records[next(iter(ended))].expires <= moment:
                self._forget_oldest(ended)
        while self._ended_bytes > MOST_RECORD_BYTES or sum(map(len, self._ended.values())) > MOST_RECORDS:
            self._forget_oldest(max(self._ended.values(), key=len))

    def _forget_keys(self, moment: float, most: int) -> None:
        """Let go of the keys that have expired by now, and of the oldest of more than so many."""
        while self._keys and (len(self._keys) > most or next(iter(self._keys.values()))[2] < moment):
            self._keys.popitem(last=False)

    def _forget_oldest(self, ended: OrderedDict[str, int]) -> None:
        task_id, size = ended.popitem(last=False)
        self._ended_bytes -= size
        del self._records[task_id]


def now() -> bytes:
    """The time as records hold it: unix seconds."""
    return f"{time.time():.6f}".encode()
