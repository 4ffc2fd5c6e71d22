"""Where the time of a request goes: measured where it passes, told in the header Server-Timing and by /status.

    verify    `verify_input`, in the API
    queue     from there until the call began that the task ran in; what is left when the others are known
    process   `process`, of the whole call
    predict   `predict`, of the whole call
    batch     how many tasks the call had

A call's times travel with its tasks: to the API process that waits, and into the record. Durations are in seconds, and
in Redis in whole microseconds.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

STAGES = ("queue", "process", "predict")


class Stopwatch:
    """Measures a call of the pipeline as it goes; used again and again.

    Attributes:
        process, predict: seconds; of a stage that the last call did not reach or end: what it took until then, or 0.
    """

    __slots__ = ("_began", "_processed", "predict", "process")

    def __init__(self) -> None:
        self._began = 0.0
        self._processed: float | None = None
        self.process = self.predict = 0.0

    def start(self) -> None:
        """The call begins, with `process`."""
        self.process = self.predict = 0.0
        self._processed = None
        self._began = time.perf_counter()

    def processed(self) -> None:
        """`process` has returned."""
        self._processed = time.perf_counter()

    def stop(self) -> None:
        """The call has ended, in whatever way."""
        now = time.perf_counter()
        if self._processed is None:
            self.process = now - self._began
        else:
            self.process, self.predict = self._processed - self._began, now - self._processed


class CallTimes:
    """The times of the call that a task ran in; the same object for all of its tasks.

    Attributes:
        process, predict: seconds of these stages.
        batch: how many tasks it had; 0: nothing is known of the call.
        call: seconds until the answers were on their way.
    """

    __slots__ = ("_header", "_model", "_text", "batch", "call", "predict", "process")

    def __init__(self, process: float, predict: float, batch: int, call: float, model: str = "") -> None:
        """
        Args:
            model: the version of the model; empty: none.
        """
        self.process, self.predict, self.batch, self.call = process, predict, batch, call
        self._model = model
        self._header = self._text = ""

    @classmethod
    def parse(cls, text: str, model: str = "") -> CallTimes:
        """Those that were made into this text; of what is none, as from an older worker, nothing is known."""
        try:
            process, predict, batch, call = map(int, text.split(",")[:4])
        except ValueError:
            return cls(0.0, 0.0, 0, 0.0, model)
        return cls(process / 1e6, predict / 1e6, batch, call / 1e6, model)

    @property
    def text(self) -> str:
        """How they travel through Redis; empty where nothing is known."""
        if not self._text and self.batch:
            self._text = f"{int(self.process * 1e6)},{int(self.predict * 1e6)},{self.batch},{int(self.call * 1e6)}"
        return self._text

    @property
    def header(self) -> str:
        """Their part of Server-Timing, which follows the others."""
        if not self._header:
            version = f', model;desc="{self._model}"' if self._model else ""
            self._header = version
            if self.batch:
                self._header = (
                    f", process;dur={self.process * 1e3:.3f}, predict;dur={self.predict * 1e3:.3f}, "
                    f'batch;desc="{self.batch}"{version}'
                )
        return self._header

    def queue(self, since_verified: float) -> float:
        """Seconds until the call began, of those that have passed from the end of `verify_input` until now."""
        seconds = since_verified - self.call
        return seconds if seconds > 0 and self.batch else 0.0


UNKNOWN = CallTimes(0.0, 0.0, 0, 0.0)


def server_timing(verify: float | None, since_verified: float, call: CallTimes) -> str:
    """The header's value (https://www.w3.org/TR/server-timing/), with what is known; durations in milliseconds.

    Args:
        verify: seconds of `verify_input`; None: not known.
        since_verified: seconds from its end until the answer was there.
        call: of the call that the task ran in.
    """
    verified = "" if verify is None else f", verify;dur={verify * 1e3:.3f}"
    queue = f", queue;dur={call.queue(since_verified) * 1e3:.3f}" if call.batch else ""
    return (verified + queue + call.header)[2:]


def of_record(fields: Mapping[str, bytes]) -> tuple[float | None, float, CallTimes] | None:
    """Of a task's record: seconds of verify, from its acceptance until its end, its call; None where none is known."""
    call = CallTimes.parse(fields.get("times", b"").decode(), fields.get("model", b"").decode())
    verify = fields.get("verify", b"").decode()
    if not call.batch and not verify:
        return None
    passed = float(fields["ended"]) - float(fields["accepted"]) if fields.get("ended") and fields.get("accepted") else 0
    return int(verify) / 1e6 if verify.isdigit() else None, passed, call


def header_of(status: Mapping[str, Any]) -> str:
    """Server-Timing of a body of /status; empty where nothing is known, or its task has not ended."""
    times = status.get("timings") if status.get("ended") else None
    if not times:
        return ""
    durations = [f"{name};dur={times[name] * 1e3:.3f}" for name in ("verify", *STAGES) if name in times]
    batch = [f'batch;desc="{times["batch"]}"'] if "batch" in times else []
    return ", ".join([*durations, *batch, *([f'model;desc="{status["model"]}"'] if "model" in status else [])])


def shown(found: tuple[float | None, float, CallTimes]) -> dict[str, Any]:
    """The same for /status: durations in seconds."""
    verify, passed, call = found
    body: dict[str, Any] = {} if verify is None else {"verify": verify}
    if call.batch:
        body.update(queue=round(call.queue(passed), 6), process=call.process, predict=call.predict, batch=call.batch)
    return body
