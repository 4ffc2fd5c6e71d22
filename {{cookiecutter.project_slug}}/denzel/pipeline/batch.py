"""Runs the pipeline on requests that are there at the same time, each with its own answer or error.

A pipeline that declares `BATCHABLE = True` promises that the ids of `data` do not depend on each other, and that
their names do not matter. Then requests that are alike but for their `data` go through `process` and `predict` in one
call, under ids made unique, and the answer is split again. A merged call that raises, or that does not answer exactly
the ids it was given, is run again request by request, so that one request's error stays its own.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Any

from denzel import jsonio
from denzel.log import about
from denzel.pipeline import errors, stages
from denzel.pipeline.errors import BadAnswer
from denzel.pipeline.on_loop import Overdue
from denzel.record import CANCELLED, Ending
from denzel.timings import CallTimes, Stopwatch

log = logging.getLogger("denzel.worker")


@dataclass(slots=True)
class Call:
    """Requests that go through the pipeline in one call.

    Attributes:
        positions: where they stand among the requests that the calls were made of.
        requests: verified, as JSON.
        ids: the number of their ids, where they are several.
    """

    positions: list[int] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    ids: int = 0
    _parsed: list[dict[str, Any]] = field(default_factory=list)

    def add(self, position: int, request: bytes, parsed: dict[str, Any]) -> None:
        """Merge one more request into this call."""
        self.positions.append(position)
        self.requests.append(request)
        self.ids += len(parsed["data"])
        self._parsed.append(parsed)

    def apart(self) -> list[Call]:
        """The same requests, each in a call of its own."""
        return [Call([position], [request]) for position, request in zip(self.positions, self.requests, strict=True)]

    def take_parsed(self) -> list[dict[str, Any]]:
        """The requests, for one run: user code may change what it gets."""
        parsed, self._parsed = self._parsed, []
        return parsed or [jsonio.loads_dumped(request) for request in self.requests]


class BatchRunner:
    """The user's functions and model, applied to many requests.

    Args:
        module: the user's pipeline.
        model: what `load_model` returned.
        max_ids: the most ids of a merged call, unless one request alone has more.
        call: runs the pipeline once; a place to watch over it.

    Attributes:
        watch: has measured the last call.
        measured: the times of what `run` has run.
    """

    def __init__(
        self,
        module: ModuleType,
        model: Any,
        max_ids: int,
        call: Callable[[ModuleType, Any, Any], Any] | None = None,
    ) -> None:
        self.watch = Stopwatch()
        self.measured: list[CallTimes] = []
        self._call = call or partial(stages.predictions, watch=self.watch)
        self._module = module
        self._model = model
        self._max_ids = max_ids
        self._names: Sequence[str] = ()
        self.merges = getattr(module, "BATCHABLE", False) is True

    def calls(self, requests: Sequence[bytes], names: Sequence[str] = ()) -> Iterator[Call]:
        """The calls of the pipeline that some requests (verified, as JSON) take.

        Args:
            names: what the log calls the requests, their tasks' ids.
        """
        self._names = names
        if not self.merges or len(requests) == 1:
            for position, request in enumerate(requests):
                yield Call([position], [request])
        else:
            yield from self._alike(requests)

    def run(self, call: Call) -> list[Ending]:
        """How each request of a call ended, in order; `measured` has the times of each then."""
        outcomes: list[Ending] = []
        self.measured = []
        began = time.perf_counter()
        for part in self.parts(call):
            times = CallTimes(self.watch.process, self.watch.predict, len(part), time.perf_counter() - began)
            outcomes += part
            self.measured += [times] * len(part)
            began = time.perf_counter()
        return outcomes

    def parts(self, call: Call) -> Iterator[list[Ending]]:
        """The same as it comes about: all together, or one by one where the merged call has failed."""
        whose = about.current()
        if len(call.requests) > 1:
            try:
                outcomes = self._run_merged(call)
            except Overdue:
                raise
            except BaseException as error:
                error.__traceback__ = None
                log.info(
                    "A merged call of %d tasks failed (%s): running them apart",
                    len(call.requests),
                    errors.describe(error),
                )
            else:
                yield outcomes
                return
        for position, request in zip(call.positions, call.requests, strict=True):
            if len(call.requests) > 1 and position < len(self._names):
                about.narrow([one for one in whose if one[0] == self._names[position]])
            yield [self._run_alone(request, self._name(position))]

    def _name(self, position: int) -> str:
        """What the log calls a request."""
        return f"Task {self._names[position]}" if position < len(self._names) else "A task"

    def _run_alone(self, request: bytes, name: str) -> Ending:
        try:
            answer = self._call(self._module, self._model, jsonio.loads_dumped(request))
            return "SUCCESS", stages.dumps_predictions(answer), b""
        except Overdue:  # it is run again elsewhere
            raise
        except errors.TaskCancelled:
            log.info("%s was cancelled: its call has ended", name, extra={"kind": "cancelled"})
            return CANCELLED
        except BaseException as error:  # exit(), asyncio.CancelledError: whatever it is, it is this request's error
            kind = f"{type(error).__name__} at {errors.place_of(error)}"
            told = name, errors.describe(error), errors.traceback_of(error)
            log.warning("%s failed: %s\n%s", *told, extra={"kind": kind})
            error.__traceback__ = None  # should it be raised again and again, that would grow and hold all requests
            return failure(error)

    def _run_merged(self, call: Call) -> list[Ending]:
        outcomes: list[Ending] = []
        for position, answer in zip(call.positions, self._answers(call.take_parsed()), strict=True):
            try:
                outcomes.append(("SUCCESS", stages.dumps_predictions(answer), b""))
            except BadAnswer as error:
                log.warning("%s failed: %s", self._name(position), error)
                outcomes.append(failure(error))
        return outcomes

    def _alike(self, requests: Sequence[bytes]) -> Iterator[Call]:
        """Calls of requests that differ in nothing but `data` (and where the answer goes), bounded in ids."""
        groups: dict[bytes, list[Call]] = {}
        for position, text in enumerate(requests):
            request, kind = _mergeable(text)
            if request is None:
                yield Call([position], [text])
                continue
            calls = groups.setdefault(kind, [])
            if not calls or calls[-1].ids + len(request["data"]) > self._max_ids:
                calls.append(Call())
            calls[-1].add(position, text, request)
        for calls in groups.values():
            yield from calls

    def _answers(self, group: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """One call of `process` and `predict` for all; raises when its answer cannot be split by id."""
        merged: dict[str, Any] = {}
        for request in group:
            for features in request["data"].values():
                merged[str(len(merged))] = features
        common = {key: value for key, value in group[0].items() if key != "callback_uri"}
        answer = self._call(self._module, self._model, {**common, "data": merged})
        if not isinstance(answer, dict) or answer.keys() != merged.keys():
            raise ValueError("predict did not answer exactly the ids it was given")
        answers, number = [], 0
        for request in group:
            own = {}
            for task_id in request["data"]:
                own[task_id] = answer[str(number)]
                number += 1
            answers.append(own)
        return answers


def _mergeable(text: bytes) -> tuple[dict[str, Any] | None, bytes]:
    """A request, and what it must have in common with others to be merged; None for one that runs by itself."""
    try:
        request = jsonio.loads_dumped(text)
        if isinstance(request, dict) and isinstance(request.get("data"), dict) and request["data"]:
            rest = {key: value for key, value in request.items() if key not in ("data", "callback_uri")}
            return request, jsonio.dumps(rest) if rest else b""
    except Exception:  # nested too deep, say: run by itself, it gets this as its own error, and the others go on
        log.info("A task cannot be merged with others", exc_info=True)
    return None, b""


def failure(error: BaseException) -> Ending:
    """The outcome of a request whose pipeline raised."""
    try:
        return "FAILURE", jsonio.dumps(errors.result_of(error)), jsonio.dumps(errors.message_of(error))
    except Exception:  # of the error's own attributes
        name = type(error).__name__
        return "FAILURE", jsonio.dumps({"args": [], "type": name}), jsonio.dumps(name)
