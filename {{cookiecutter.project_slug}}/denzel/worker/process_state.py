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


class ProcessState:
    """One process's page of shared memory. Times are CLOCK_MONOTONIC, the same for all processes of a machine.

    The writer stores texts before the number that says they are there; a reader may see a moment's mixture,
    which the next look corrects.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._memory = mmap.mmap(fd, _SIZE)

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
        self.tick()

    def tick(self) -> None:
        """Say that the process still looks for messages."""
        struct.pack_into("d", self._memory, _TICK, time.monotonic())

    def begin(self, task_id: str) -> None:
        """Say that the pipeline is being called, for this task and perhaps others with it."""
        self._write_text(_TASK, _TASK_SIZE, task_id)
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

    # The supervisor writes.

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
