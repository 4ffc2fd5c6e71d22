"""What a prediction process and its supervisor tell each other: a few numbers in shared memory.

The supervisor must know how a process is even while the process computes, hangs, or has died.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
import time

LOADING, READY, ERROR, DISCONNECTED = range(4)

_FD = "DENZEL_STATE_FD"
_SIZE = 4096
_STATE, _HELD, _BUSY_SINCE, _TICK, _TASK, _SPEED, _TEXT, _VERSION = 0, 1, 8, 16, 24, 96, 128, 2304
_TASK_SIZE, _TEXT_SIZE, _VERSION_SIZE = 64, 2048, 64
_ALONE, _CANCELLED, _READY_AT = 2, 2368, 2432


class ProcessState:
    """One process's page of shared memory. Times are CLOCK_MONOTONIC, the same for all processes of a machine.

    The writer stores texts before the number that says they are there; a reader may see a moment's mixture,
    which the next look corrects.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._memory = mmap.mmap(fd, _SIZE)
        self.created = 0.0  # for the supervisor

    @classmethod
    def create(cls, held: bool = False) -> ProcessState:
        """A new page, for the supervisor; `fd` is to be inherited by the process.

        Args:
            held: the process is not to load its model yet.
        """
        if hasattr(os, "memfd_create"):  # needs no disk, which may be full
            fd = os.memfd_create("denzel-state")
            os.truncate(fd, _SIZE)
        else:
            with tempfile.TemporaryFile() as file:
                file.truncate(_SIZE)
                fd = os.dup(file.fileno())
        state = cls(fd)
        state._memory[_HELD] = held
        state.created = time.monotonic()
        return state

    @classmethod
    def inherited(cls) -> ProcessState:
        """The page that the supervisor handed down; a private one when there is no supervisor."""
        fd = os.environ.get(_FD)
        return cls(int(fd)) if fd else cls.create()

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to find its page."""
        return {_FD: str(self.fd)}

    def close(self) -> None:
        """Give the page back."""
        self._memory.close()
        os.close(self.fd)

    # The process writes.

    def set(self, state: int, error: str = "") -> None:
        """Say what the process is doing; `error` is why load_model failed."""
        self._write_text(_TEXT, _TEXT_SIZE, error)
        self._memory[_STATE] = state
        if state == READY and not self._ready_at:
            struct.pack_into("d", self._memory, _READY_AT, time.monotonic())
        self.tick()

    def tick(self) -> None:
        """Say that the process still looks for messages."""
        struct.pack_into("d", self._memory, _TICK, time.monotonic())

    def begin(self, task_id: str, alone: bool = True) -> None:
        """Say that the pipeline is being called, for this task, alone or with others."""
        self._write_text(_TASK, _TASK_SIZE, task_id)
        self._memory[_ALONE] = alone
        struct.pack_into("d", self._memory, _BUSY_SINCE, time.monotonic())

    def end(self) -> None:
        """Say that the pipeline has returned."""
        struct.pack_into("d", self._memory, _BUSY_SINCE, 0.0)
        self.tick()

    def set_version(self, version: str) -> None:
        """Say which version the loaded model has; empty: none."""
        self._write_text(_VERSION, _VERSION_SIZE, version)

    def set_speed(self, tasks_per_second: float, seconds_per_call: float) -> None:
        """Say how fast the process works; 0, 0: not known."""
        struct.pack_into("dd", self._memory, _SPEED, tasks_per_second, seconds_per_call)

    @property
    def is_cancelled(self) -> bool:
        """Whether the task that runs, alone, was cancelled."""
        cancelled = self._memory[_CANCELLED : _CANCELLED + _TASK_SIZE]
        return bool(self._memory[_ALONE]) and cancelled == self._memory[_TASK : _TASK + _TASK_SIZE]

    # The supervisor writes.

    def cancel(self, task_id: str) -> None:
        """Name the task that was cancelled; the process looks when it gets its signal."""
        self._write_text(_CANCELLED, _TASK_SIZE, task_id)

    def go_on(self) -> None:
        """Let the process load its model."""
        self._memory[_HELD] = False

    @property
    def is_held(self) -> bool:
        """Whether the process is to wait with its model."""
        return bool(self._memory[_HELD])

    # The supervisor reads.

    @property
    def speed(self) -> tuple[float, float]:
        """Tasks per second while it works, and the mean seconds per call; 0, 0 while nothing is known."""
        tasks_per_second, seconds_per_call = struct.unpack_from("dd", self._memory, _SPEED)
        return tasks_per_second, seconds_per_call

    @property
    def state(self) -> int:
        """LOADING, READY, ERROR or DISCONNECTED."""
        return self._memory[_STATE]

    @property
    def has_served(self) -> bool:
        """Whether the model was loaded and the process looked for messages."""
        return self.state in (READY, DISCONNECTED)

    @property
    def took_to_start(self) -> float:
        """Seconds from the beginning of the process until it looked for messages; 0: it has not yet."""
        return max(0.0, self._ready_at - self.created) if self._ready_at else 0.0

    @property
    def runs_alone(self) -> bool:
        """Whether the pipeline was called for one task alone."""
        return bool(self._memory[_ALONE])

    @property
    def _ready_at(self) -> float:
        return struct.unpack_from("d", self._memory, _READY_AT)[0]

    @property
    def error(self) -> str:
        """Why load_model failed."""
        return self._read_text(_TEXT, _TEXT_SIZE)

    @property
    def version(self) -> str:
        """The version of the loaded model; empty where there is none."""
        return self._read_text(_VERSION, _VERSION_SIZE)

    @property
    def silent_for(self) -> float:
        """Seconds since the process last looked for messages."""
        return time.monotonic() - struct.unpack_from("d", self._memory, _TICK)[0]

    @property
    def busy_for(self) -> float | None:
        """Seconds since the pipeline was called, None when it is not running."""
        since = struct.unpack_from("d", self._memory, _BUSY_SINCE)[0]
        return time.monotonic() - since if since else None

    @property
    def task_id(self) -> str:
        """The task that the pipeline was called for last, the first of them when merged."""
        return self._read_text(_TASK, _TASK_SIZE)

    def _write_text(self, offset: int, size: int, text: str) -> None:
        self._memory[offset : offset + size] = text.encode(errors="replace")[:size].ljust(size, b"\0")

    def _read_text(self, offset: int, size: int) -> str:
        return self._memory[offset : offset + size].rstrip(b"\0").decode(errors="ignore")
