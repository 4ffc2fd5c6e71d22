"""The pipeline of a workload, for every server alike: PIPELINE names its file."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

_spec = importlib.util.spec_from_file_location("pipeline", os.environ["PIPELINE"])
assert _spec is not None
assert _spec.loader is not None
pipeline = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(pipeline)

# The most requests that go through the model together; 1 where the server is to make no batches.
BATCH = int(os.environ.get("BATCH", "1"))
WORKERS = int(os.environ.get("WORKERS", "1"))

verify = pipeline.verify_input
load_model = pipeline.load_model


def answer(model: Any, request: dict[str, Any]) -> dict[str, Any]:
    """The predictions of one request."""
    return pipeline.predict(model, pipeline.process(model, request))


def answer_many(model: Any, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The predictions of several requests by one call of the model; two of them may have the same ids."""
    together = {(place, name): item for place, request in enumerate(requests) for name, item in request["data"].items()}
    answers: list[dict[str, Any]] = [{} for _ in requests]
    for (place, name), prediction in answer(model, {"data": together}).items():
        answers[place][name] = prediction
    return answers
