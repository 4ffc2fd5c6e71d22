"""The pipeline, function by function, in this process: `make test`.

The fixtures come from pytest-denzel. `verify_input(request)`, `process(request)` and `predict(data)` call the functions
of app/logic/pipeline.py, the last two with the model that `load_model` returned; `pipeline.run(request)` goes the whole
way of a request. A request whose answer you know needs no test here: put both into a file in app/assets/examples.
"""

import pytest
from sklearn.datasets import load_iris

SETOSA = {"sepal-length": 4.6, "sepal-width": 3.6, "petal-length": 1.0, "petal-width": 0.2}
VIRGINICA = {"sepal-length": 6.5, "sepal-width": 3.2, "petal-length": 5.1, "petal-width": 2.0}


def test_the_model_knows_the_flowers_it_was_fitted_on(model):
    flowers, species = load_iris(return_X_y=True)
    assert model.score(flowers, species) > 0.95


def test_a_request_is_answered_by_id(pipeline):
    answer = pipeline.run({"data": {"a123": SETOSA, "b456": VIRGINICA}})
    assert answer == {"a123": "Iris-setosa", "b456": "Iris-virginica"}


@pytest.mark.parametrize(
    ("request_body", "message"),
    [
        ([SETOSA], 'an object with a "data" key'),
        ({"data": {}}, "at least one flower"),
        ({"data": {"a123": {"sepal-length": 4.6}}}, "lacks: sepal-width, petal-length, petal-width"),
        ({"data": {"a123": {**SETOSA, "petal-width": "0.2"}}}, r'\["petal-width"\] must be a number'),
    ],
)
def test_what_is_no_flower_is_refused_with_a_reason(verify_input, request_body, message):
    with pytest.raises(ValueError, match=message):
        verify_input(request_body)


def test_the_features_are_in_the_order_that_the_model_was_fitted_with(process):
    ids, rows = process({"data": {"a123": dict(reversed(SETOSA.items()))}})
    assert ids == ["a123"]
    assert rows.tolist() == [[4.6, 3.6, 1.0, 0.2]]


def test_the_species_are_named(process, predict):
    data = process({"data": {"b456": VIRGINICA}})
    assert predict(data) == {"b456": "Iris-virginica"}
