"""Runs the pipeline on requests that are there at the same time, each with its own answer or error.

A pipeline that declares `BATCHABLE = True` promises that the ids of `data` do not depend on each other, and that
their names do not matter. Then requests that are alike but for their `data` go through `process` and `predict` in one
call, under ids made unique, and the answer is split again. A merged call that raises, or that does not answer exactly
the ids it was given, is run again request by request, so that one request's error stays its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

from app import jsonio, stages
from app.in_place import Overdue

log = logging.getLogger("denzel.worker")

# Status, result and message, as the records hold them.
Outcome = tuple[str, bytes, bytes]


class BatchRunner:
    """The user's functions and model, applied to many requests.

    Args:
        module: the user's pipeline.
        model: what `load_model` returned.
        max_ids: a merged call has at most so many ids, unless one request alone has more.
        call: runs the pipeline once; a place to watch over it.
    """

    def __init__(
        self,
        module: ModuleType,
        model: Any,
        max_ids: int,
        call: Callable[[ModuleType, Any, Any], Any] = stages.predictions,
    ) -> None:
        self._call = call
        self._module = module
        self._model = model
        self._max_ids = max_ids
        self.merges = getattr(module, "BATCHABLE", False) is True

    def calls(self, requests: Sequence[bytes]) -> list[list[int]]:
        """Which requests (by position) go through the pipeline in one call."""
        if not self.merges or len(requests) == 1:
            return [[position] for position in range(len(requests))]
        return list(self._alike(requests))

    def run(self, requests: Sequence[bytes]) -> list[Outcome]:
        """How each request of one call (verified, as JSON) ended, in order."""
        return [outcome for part in self.parts(requests) for outcome in part]

    def parts(self, requests: Sequence[bytes]) -> Iterator[list[Outcome]]:
        """The same as it comes about: all together, or one by one where the merged call has failed."""
        if len(requests) > 1:
            try:
                outcomes = self._run_merged(requests)
            except Overdue:
                raise
            except BaseException as error:
                log.info(
                    "A merged call of %d tasks failed (%s): running them apart", len(requests), stages.describe(error)
                )
            else:
                yield outcomes
                return
        for request in requests:
            yield [self._run_alone(request)]

    def _run_alone(self, request: bytes) -> Outcome:
        try:
            answer = self._call(self._module, self._model, jsonio.loads(request))
            return "SUCCESS", stages.dumps_predictions(answer), b""
        except Overdue:  # it is run again elsewhere
            raise
        except BaseException as error:  # exit(), asyncio.CancelledError: whatever it is, it is this request's error
            log.warning("A task failed: %s", stages.describe(error), exc_info=True)
            return failure(error)

    def _run_merged(self, requests: Sequence[bytes]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for answer in self._answers([jsonio.loads(request) for request in requests]):
            try:
                outcomes.append(("SUCCESS", stages.dumps_predictions(answer), b""))
            except stages.BadAnswer as error:
                log.warning("A task failed: %s", error)
                outcomes.append(failure(error))
        return outcomes

    def _alike(self, requests: Sequence[bytes]) -> Iterator[list[int]]:
        """The positions of requests that differ in nothing but `data` (and where the answer goes), bounded in ids."""
        groups: dict[bytes, tuple[list[int], list[int]]] = {}
        for position, text in enumerate(requests):
            request = jsonio.loads(text)
            if not isinstance(request, dict) or not isinstance(request.get("data"), dict):
                yield [position]
                continue
            rest = {key: value for key, value in request.items() if key not in ("data", "callback_uri")}
            positions, sizes = groups.setdefault(jsonio.dumps(rest) if rest else b"", ([], []))
            positions.append(position)
            sizes.append(len(request["data"]))
        for positions, sizes in groups.values():
            start, ids = 0, 0
            for end, size in enumerate(sizes):
                if end > start and ids + size > self._max_ids:
                    yield positions[start:end]
                    start, ids = end, 0
                ids += size
            yield positions[start:]

    def _answers(self, group: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """One call of `process` and `predict` for all; raises when its answer cannot be split by id."""
        merged: dict[str, Any] = {}
        for request in group:
            for features in request["data"].values():
                merged[str(len(merged))] = features
        answer = self._call(self._module, self._model, {**group[0], "data": merged})
        if not isinstance(answer, dict) or len(answer) != len(merged):
            raise ValueError("predict did not answer exactly the ids it was given")
        answers, number = [], 0
        for request in group:
            own = {}
            for task_id in request["data"]:
                own[task_id] = answer[str(number)]
                number += 1
            answers.append(own)
        return answers


def failure(error: BaseException) -> Outcome:
    """The outcome of a request whose pipeline raised."""
    return "FAILURE", jsonio.dumps(stages.result_of(error)), jsonio.dumps(stages.message_of(error))
