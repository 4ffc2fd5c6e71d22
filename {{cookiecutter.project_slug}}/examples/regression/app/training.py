"""What `make train`, `make score` and `make ingest` do with your data and your model.

The files around it (the asset in app/assets, its card, the comparison with the model that serves) are the framework's
affair; this module holds what only you can know. The working directory is the project's folder.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from app.data.connector import Connector, Table
from app.data.generated import GeneratedPoints
from app.data.sqlite import SQLite
from app.model import storage
from app.model.regressors import PolynomialRegressor, Regressor

SOURCE: Connector = GeneratedPoints()
# What `make ingest` has brought here. Without it the model is fitted on the source itself.
INGESTED = SQLite("./data/points.sqlite", "points", SOURCE.features, SOURCE.target)
CHUNK = 500  # rows that are ingested at a time

ASSET = "model.json"  # the name of the asset, into which the version is put
METRIC = "R2"  # by which a new model is compared with the one that serves: more is better
TOLERANCE = 0.01  # how much worse a new model may be


def load_data(part: str) -> Table:
    """The data to fit on ("training"), to judge a new model by ("held-out"), or to judge the asset by ("fresh")."""
    if part == "fresh":
        return GeneratedPoints(count=500, seed=time.time_ns()).table()
    table = (INGESTED if len(INGESTED) else SOURCE).table()
    held_out = np.arange(len(table)) % 5 == 0
    return table.where(held_out if part == "held-out" else ~held_out)


def fit(data: Table) -> Regressor:
    """The model, fitted. The variable DEGREE in .env is the polynomial's degree."""
    return PolynomialRegressor(degree=int(os.environ.get("DEGREE") or 2)).fit(data.X, data.y)


def evaluate(model: Regressor, data: Table) -> dict[str, float]:
    """How good a model is: R², the mean absolute error, the root of the mean squared error."""
    errors = data.y - model.predict(data.X)
    return {
        "R2": model.score(data.X, data.y),
        "MAE": float(np.abs(errors).mean()),
        "RMSE": float(np.sqrt((errors**2).mean())),
    }


def save(model: Regressor, path: Path) -> None:
    """Write the model into a file, from which `load_model` in app/logic/pipeline.py reads it."""
    storage.save(model, path)


def digest(data: Table) -> str:
    """What tells these data from others; it stands in the card."""
    return data.digest()


def points(model: Regressor, data: Table) -> tuple[np.ndarray, np.ndarray]:
    """What was predicted and what was measured, for the plot of `make score`."""
    return model.predict(data.X), data.y


def ingest(start: int) -> Iterator[tuple[int, int]]:
    """Bring the data here from row `start` on; after each chunk that is safe: how many rows are here, and of how many.

    What is yielded is kept: should the process die, the next one begins there.
    """
    total = len(SOURCE)
    for first in range(start, total, CHUNK):
        last = min(first + CHUNK, total)
        INGESTED.write(first, SOURCE.rows(first, last))
        yield last, total
