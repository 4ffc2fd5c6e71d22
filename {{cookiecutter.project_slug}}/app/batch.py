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

log = logging.getLogger("denzel.worker")

# Status, result and message, as the records hold them.
Outcome = tuple[str, bytes, bytes]


class BatchRunner:
    """The user's functions and model, applied to many requests.

    Args:
        module: the user's pipeline.
        model: what `load_model` returned.
        max_ids: a merged call has at most so many ids, unless one request alone has more.
        on_start: called before each call of the pipeline with the position of its first request.
    """

    def __init__(
        self,
        module: ModuleType,
        model: Any,
        max_ids: int,
        on_start: Callable[[int], None] = lambda position: None,
    ) -> None:
        self._module = module
        self._model = model
        self._max_ids = max_ids
        self._on_start = on_start
        self.merges = getattr(module, "BATCHABLE", False) is True

    def run(self, requests: Sequence[bytes]) -> list[Outcome]:
        """How each request (verified, as JSON) ended, in order."""
        outcomes: list[Outcome | None] = [None] * len(requests)
        if self.merges and len(requests) > 1:
            self._run_merged(requests, outcomes)
        for position, request in enumerate(requests):
            if outcomes[position] is None:
                self._on_start(position)
                outcomes[position] = self._run_alone(request)
        return outcomes  # type: ignore[return-value]  # every place is filled now

    def _run_alone(self, request: bytes) -> Outcome:
        try:
            answer = stages.predictions(self._module, self._model, jsonio.loads(request))
            return "SUCCESS", stages.dumps_predictions(answer), b""
        except (Exception, SystemExit) as error:
            log.warning("A task failed: %s", stages.describe(error), exc_info=True)
            return failure(error)

    def _run_merged(self, requests: Sequence[bytes], outcomes: list[Outcome | None]) -> None:
        """Fill in the outcomes of the requests that could be answered together."""
        for positions, group in self._alike(requests):
            self._on_start(positions[0])
            try:
                answers = self._answers(group)
            except (Exception, SystemExit) as error:
                log.info("A merged call of %d tasks failed (%s): running them apart", len(group), error)
                continue
            for position, answer in zip(positions, answers, strict=True):
                try:
                    outcomes[position] = "SUCCESS", stages.dumps_predictions(answer), b""
                except stages.BadAnswer as error:
                    log.warning("A task failed: %s", error)
                    outcomes[position] = failure(error)

    def _alike(self, requests: Sequence[bytes]) -> Iterator[tuple[list[int], list[dict[str, Any]]]]:
        """Groups of two or more requests that differ in nothing but `data` (and where the answer goes)."""
        groups: dict[bytes, tuple[list[int], list[dict[str, Any]]]] = {}
        for position, text in enumerate(requests):
            request = jsonio.loads(text)
            if not isinstance(request, dict) or not isinstance(request.get("data"), dict):
                continue
            rest = {key: value for key, value in request.items() if key not in ("data", "callback_uri")}
            key = jsonio.dumps(rest) if rest else b""
            positions, group = groups.setdefault(key, ([], []))
            positions.append(position)
            group.append(request)
        for positions, group in groups.values():
            start, ids = 0, 0
            for end, request in enumerate(group):
                if end > start and ids + len(request["data"]) > self._max_ids:
                    if end - start > 1:
                        yield positions[start:end], group[start:end]
                    start, ids = end, 0
                ids += len(request["data"])
            if len(group) - start > 1:
                yield positions[start:], group[start:]

    def _answers(self, group: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """One call of `process` and `predict` for all; raises when its answer cannot be split by id."""
        merged: dict[str, Any] = {}
        for request in group:
            for features in request["data"].values():
                merged[str(len(merged))] = features
        answer = stages.predictions(self._module, self._model, {**group[0], "data": merged})
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
