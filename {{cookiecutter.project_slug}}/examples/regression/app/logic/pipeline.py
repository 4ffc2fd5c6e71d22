"""Predict a number from features by a model that `make train` has fitted: the four functions of a service.

    request -> verify_input -> process -> predict -> answer

The working directory is the project's folder: open files as "./app/assets/...". The model's class is in app/model,
where the data come from in app/data, how one is fitted on the other in app/training.py. `make restart` applies an edit.
"""

import json
from pathlib import Path

import numpy as np

from app.model import storage

FEATURES = ["x1", "x2"]
ASSETS = Path("./app/assets")

# The predictions of one request do not depend on each other: requests that wait together may be computed together.
BATCHABLE = True


def verify_input(json_data):
    """Check a request, in the api container.

    Raise any exception to refuse it: the client gets 400 and the exception's message.

    :param json_data: the request's body, parsed from JSON
    :return: what `process` gets
    """
    if not isinstance(json_data, dict) or "data" not in json_data:
        raise ValueError('The request must be an object with a "data" key.')
    points = json_data["data"]
    if not isinstance(points, dict) or not points:
        raise ValueError('"data" must be an object of at least one point: {"<id>": {<features>}}.')
    for point_id, features in points.items():
        if not isinstance(features, dict):
            raise ValueError(f'data["{point_id}"] must be an object of the features: {", ".join(FEATURES)}.')
        missing = [name for name in FEATURES if name not in features]
        if missing:
            raise ValueError(f'data["{point_id}"] lacks: {", ".join(missing)}.')
        for name in FEATURES:
            if isinstance(features[name], bool) or not isinstance(features[name], (int, float)):
                raise ValueError(f'data["{point_id}"]["{name}"] must be a number.')
    return json_data


def load_model():
    """Load the model into memory; called once in each worker process, before its first request.

    The card, written by `make train`, names the file.

    :return: the model, given to `process` and `predict`
    """
    card = json.loads((ASSETS / "card.json").read_text(encoding="utf-8"))
    return storage.load(ASSETS / card["asset"])


def process(model, json_data):
    """Turn a verified request into what the model takes.

    :param model: what `load_model` returned
    :param json_data: what `verify_input` returned
    :return: what `predict` gets: the ids, and one row of features for each
    """
    points = json_data["data"]
    rows = [[features[name] for name in FEATURES] for features in points.values()]
    return list(points), np.array(rows, dtype=float)


def predict(model, data):
    """Make the predictions.

    :param model: what `load_model` returned
    :param data: what `process` returned
    :return: the answer: the predicted number by id
    """
    ids, rows = data
    return dict(zip(ids, model.predict(rows), strict=True))
