"""What an API process and a prediction process say to each other: frames of a length, a kind and a body.

    TASK    api -> worker   a task: its id, its request, and where that comes from (`denzel.origin`)
    RECALL  api -> worker   a task's id: it goes another way (see `recall`)
    HELLO   worker -> api   JSON: node, merges (requests), model (its version), slot (of the page, see `place`)
    ENDED   worker -> api   how tasks ended, how long their call took, and its times (`denzel.timings`)
    REFUSED worker -> api   a task's id: it was recalled as it was to begin, and goes another way
    BYE     worker -> api   what is not answered by now was not run, and will not be

All numbers are little-endian; sizes are in bytes.

Whether a task has begun is told in a page of memory that both see (a file, see `place`), as a process that runs one
reads no frames: for each connection how many of its tasks have begun, and which were recalled. Either side first writes
its own word and then reads the other's, so that at least one of them sees both (Dekker's way to exclude each other).
There is room for the recalls of MOST_TASKS numbers beyond the one that has begun last: no task is sent beyond these.
The page's last words tell how many tasks the call has that runs: should the process die, so many may be to blame; and
since when a call runs, by the machine's monotonic clock: whoever has tasks to merge gives them to who begins soonest.
"""

from __future__ import annotations

import mmap
import struct
import time
from collections.abc import Iterable, Iterator

from denzel.record import EndedTask, Ending

# What both sides must agree upon; those of different versions do not meet (see `place`).
VERSION = 5

TASK, RECALL, HELLO, ENDED, BYE, REFUSED = range(1, 7)

_HEAD = struct.Struct("<IB")  # length of the body, kind
_TASK = struct.Struct("<BH")  # lengths of the id and the origin; the request is the rest
# Seconds of the call, number of tasks in it, and in the next one of many; seconds of process and predict.
_CALL = struct.Struct("<dIIdd")
_ENDED = struct.Struct("<BBII")  # lengths of id and status, result and message
_SEQUENCE = struct.Struct("@Q")  # in the page, where it is written and read as a whole

# A call that takes less (seconds) is short: it is waited for rather than that another process is given work.
SHORT = 0.002
# Connections that a prediction process takes at once.
MOST_SLOTS = 64
# Tasks that one process is given at once over a connection, at most.
MOST_TASKS = 128
# A connection's part of the page: how many of its tasks have begun, and the numbers of those recalled lately.
_SLOT_SIZE = (1 + MOST_TASKS) * _SEQUENCE.size
_CALL_AT = MOST_SLOTS * _SLOT_SIZE
PAGE_SIZE = _CALL_AT + 2 * _SEQUENCE.size


def frame(kind: int, *parts: bytes) -> bytes:
    """One frame; the parts make its body."""
    return b"".join((_HEAD.pack(sum(map(len, parts)), kind), *parts))


def task(task_id: str, request: bytes, origin: str = "") -> tuple[bytes, bytes]:
    """A TASK frame in two pieces, so that a large request is not copied."""
    name, came_from = task_id.encode(), origin.encode()
    size = _TASK.size + len(name) + len(came_from) + len(request)
    return _HEAD.pack(size, TASK) + _TASK.pack(len(name), len(came_from)) + name + came_from, request


def parse_task(body: bytes) -> tuple[str, bytes, str]:
    """The id, the request and the origin of a TASK frame."""
    name, origin = _TASK.unpack_from(body)
    at = _TASK.size + name
    return body[_TASK.size : at].decode(), body[at + origin :], body[at : at + origin].decode()


def ended(
    seconds: float, tasks: Iterable[EndedTask], in_call: int, in_next: int, process: float = 0.0, predict: float = 0.0
) -> bytes:
    """An ENDED frame.

    Args:
        seconds: what the call took.
        tasks: those of it that are told.
        in_call: how many tasks were in that call, those of other connections too.
        in_next: how many would be in the next one if many waited.
        process, predict: seconds of these stages.
    """
    parts = [_CALL.pack(seconds, in_call, in_next, process, predict)]
    for task in tasks:
        task_id, status, result, message = task[:4]
        name, state = task_id.encode(), status.encode()
        parts += (_ENDED.pack(len(name), len(state), len(result), len(message)), name, state, result, message)
    return frame(ENDED, *parts)


def parse_ended(body: bytes) -> tuple[float, int, int, float, float, list[tuple[str, Ending]]]:
    """What `ended` was given; of the tasks their id and how they ended."""
    seconds, in_call, in_next, process, predict = _CALL.unpack_from(body)
    at = _CALL.size
    found: list[tuple[str, Ending]] = []
    while at < len(body):
        sizes = _ENDED.unpack_from(body, at)
        at += _ENDED.size
        fields = []
        for size in sizes:
            fields.append(body[at : at + size])
            at += size
        name, status, result, message = fields
        found.append((name.decode(), (status.decode(), result, message)))
    return seconds, in_call, in_next, process, predict, found


class Reader:
    """Puts frames together from what comes in pieces."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The kinds and bodies of the frames that are complete now."""
        buffer = self._buffer
        buffer += data
        at, found = 0, []
        with memoryview(buffer) as view:
            while len(buffer) - at >= _HEAD.size:
                length, kind = _HEAD.unpack_from(buffer, at)
                end = at + _HEAD.size + length
                if len(buffer) < end:
                    break
                found.append((kind, bytes(view[at + _HEAD.size : end])))
                at = end
        del buffer[:at]
        return iter(found)


def begin(page: mmap.mmap, slot: int, number: int) -> bool:
    """Let a connection's next task begin, by its number among them; False when it has been recalled."""
    _SEQUENCE.pack_into(page, slot * _SLOT_SIZE, number)
    return _SEQUENCE.unpack_from(page, _place_of_recall(slot, number))[0] != number


def recall(page: mmap.mmap, slot: int, number: int) -> bool:
    """Recall a task; False when it has begun, or the process says that it was `REFUSED`."""
    _SEQUENCE.pack_into(page, _place_of_recall(slot, number), number)
    return begun(page, slot) < number


def begun(page: mmap.mmap, slot: int) -> int:
    """How many tasks of a connection have begun."""
    return _SEQUENCE.unpack_from(page, slot * _SLOT_SIZE)[0]


def clear(page: mmap.mmap, slot: int) -> None:
    """Let a connection begin: none of its tasks has begun, or been recalled."""
    page[slot * _SLOT_SIZE : (slot + 1) * _SLOT_SIZE] = bytes(_SLOT_SIZE)


def pass_by(page: mmap.mmap, slot: int, number: int) -> None:
    """Let a connection's tasks up to this number count as begun: none of them is there any more."""
    _SEQUENCE.pack_into(page, slot * _SLOT_SIZE, max(number, begun(page, slot)))


def set_in_call(page: mmap.mmap, tasks: int) -> None:
    """Tell how many tasks the call has that is about to run, those of all connections together."""
    _SEQUENCE.pack_into(page, _CALL_AT, tasks)


def in_call(page: mmap.mmap) -> int:
    """How many tasks the call has that runs, or ran last."""
    return _SEQUENCE.unpack_from(page, _CALL_AT)[0]


def set_running(page: mmap.mmap, running: bool) -> None:
    """Tell whether a call runs, and that it begins now."""
    _SEQUENCE.pack_into(page, _CALL_AT + _SEQUENCE.size, time.monotonic_ns() if running else 0)


def running(page: mmap.mmap) -> float:
    """For how long the call has run that runs (seconds); 0: none does."""
    since = _SEQUENCE.unpack_from(page, _CALL_AT + _SEQUENCE.size)[0]
    return max(1, time.monotonic_ns() - since) / 1e9 if since else 0.0


def _place_of_recall(slot: int, number: int) -> int:
    return slot * _SLOT_SIZE + (1 + number % MOST_TASKS) * _SEQUENCE.size
