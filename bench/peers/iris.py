"""The Iris pipeline of the baked project, for every server alike: PIPELINE names the project's folder."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np

sys.path.insert(0, os.environ["PIPELINE"])
from app.logic import pipeline

verify = pipeline.verify_input
load_model = pipeline.load_model


def answer(model: Any, request: dict[str, Any]) -> dict[str, str]:
    """The predictions of one request."""
    return pipeline.predict(model, pipeline.process(model, request))


def answer_many(model: Any, requests: list[dict[str, Any]]) -> list[dict[str, str]]:
    """The predictions of several requests by one call of the model, for servers that make batches."""
    parts = [pipeline.process(model, request) for request in requests]
    species = iter(model.predict(np.concatenate([rows for _, rows in parts])))
    return [{flower: pipeline.SPECIES[next(species)] for flower in ids} for ids, _ in parts]
