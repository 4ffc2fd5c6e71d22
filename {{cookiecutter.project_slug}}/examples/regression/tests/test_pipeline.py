"""The pipeline, function by function, in this process: `make test`.

The fixtures come from pytest-denzel. `verify_input(request)`, `process(request)` and `predict(data)` call the functions
of app/logic/pipeline.py, the last two with the model that `load_model` returned; `pipeline.run(request)` goes the whole
way of a request. A request whose answer you know needs no test here: put both into a file in app/assets/examples.
"""

import pytest

from app.data.generated import GeneratedPoints, function

POINT = {"x1": 1.0, "x2": 2.0}


def test_the_model_fits_points_that_it_has_not_seen(model):
    table = GeneratedPoints(count=500, seed=12345).table()
    assert model.score(table.X, table.y) > 0.95


def test_a_request_is_answered_by_id(pipeline):
    answer = pipeline.run({"data": {"a123": POINT, "b456": {"x1": -1, "x2": 0}}})
    assert answer == pytest.approx({"a123": function(1, 2), "b456": function(-1, 0)}, abs=0.2)


@pytest.mark.parametrize(
    ("request_body", "message"),
    [
        ([POINT], 'an object with a "data" key'),
        ({"data": {}}, "at least one point"),
        ({"data": {"a123": 1.0}}, "must be an object of the features: x1, x2"),
        ({"data": {"a123": {"x1": 1.0}}}, "lacks: x2"),
        ({"data": {"a123": {**POINT, "x2": "2"}}}, r'\["x2"\] must be a number'),
    ],
)
def test_what_is_no_point_is_refused_with_a_reason(verify_input, request_body, message):
    with pytest.raises(ValueError, match=message):
        verify_input(request_body)


def test_the_features_are_in_the_order_that_the_model_was_fitted_with(process):
    ids, rows = process({"data": {"a123": dict(reversed(POINT.items()))}})
    assert ids == ["a123"]
    assert rows.tolist() == [[1.0, 2.0]]


def test_a_point_out_of_all_proportion_is_refused(pipeline):
    with pytest.raises(ValueError, match="row 0 of X is so large"):
        pipeline.run({"data": {"a123": {"x1": 1e200, "x2": 1}}})
