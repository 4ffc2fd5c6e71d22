"""What `make ingest`, `make train` and `make score` do with data and models, in this process: `make test`."""

import json

import numpy as np
import pytest

from app import training
from app.data.generated import GeneratedPoints
from app.data.sqlite import SQLite
from app.model import storage
from app.model.regressors import MultivariateRegressor, PolynomialRegressor


@pytest.fixture
def ingested(monkeypatch, tmp_path):
    """A place of its own for what is ingested, and a source of 1,234 rows."""
    monkeypatch.setattr(training, "SOURCE", GeneratedPoints(count=1234))
    monkeypatch.setattr(training, "INGESTED", SQLite(tmp_path / "points.sqlite", "points", ("x1", "x2"), "y"))
    return training.INGESTED


def test_the_parts_of_the_data_share_no_row():
    held_out, fitted = training.load_data("held-out"), training.load_data("training")
    assert not {*map(tuple, held_out.X)} & {*map(tuple, fitted.X)}


def test_the_same_data_have_the_same_digest():
    assert GeneratedPoints(seed=1).table().digest() == GeneratedPoints(seed=1).table().digest()
    assert GeneratedPoints(seed=1).table().digest() != GeneratedPoints(seed=2).table().digest()


def test_what_is_ingested_is_what_the_source_has(ingested):
    assert [done for done, _ in training.ingest(0)] == [500, 1000, 1234]
    assert np.array_equal(ingested.table().X, training.SOURCE.table().X)
    assert ingested.table().digest() == training.SOURCE.table().digest()


def test_ingesting_goes_on_where_it_was_interrupted(ingested):
    first = next(training.ingest(0))
    assert first == (500, 1234)
    training.INGESTED.write(500, training.SOURCE.rows(500, 700))  # half a chunk more than was told
    assert list(training.ingest(500)) == [(1000, 1234), (1234, 1234)]
    assert ingested.table().digest() == training.SOURCE.table().digest()


@pytest.mark.parametrize("model", [MultivariateRegressor(), PolynomialRegressor(degree=3)])
def test_a_model_comes_back_from_its_file_as_it_was(model, tmp_path):
    table = GeneratedPoints().table()
    training.save(model.fit(table.X, table.y), tmp_path / "model.json")
    loaded = storage.load(tmp_path / "model.json")
    assert type(loaded) is type(model)
    assert np.array_equal(loaded.predict(table.X), model.predict(table.X))


def test_a_file_without_a_model_is_named(tmp_path):
    (tmp_path / "model.json").write_text(json.dumps({"class": "os.system"}))
    with pytest.raises(ValueError, match=r"model\.json holds no model"):
        storage.load(tmp_path / "model.json")


def test_a_model_that_is_worse_has_a_lower_metric():
    data, held_out = training.load_data("training"), training.load_data("held-out")
    good, bad = training.fit(data), MultivariateRegressor().fit(data.X, data.y)
    figures = [training.evaluate(model, held_out) for model in (good, bad)]
    assert figures[0][training.METRIC] > figures[1][training.METRIC] + training.TOLERANCE
    assert figures[0]["MAE"] < figures[1]["MAE"]
