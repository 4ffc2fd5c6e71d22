"""The regressors of the example, against scikit-learn and numpy.linalg.lstsq, and what they promise of any data."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from tests.support.bakery import TEMPLATE


def load(path: Path) -> ModuleType:
    """The module of the example, from where it lies in the template."""
    spec = importlib.util.spec_from_file_location("regressors", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


regressors = load(TEMPLATE / "examples/regression/app/model/regressors.py")
Multivariate, Polynomial = regressors.MultivariateRegressor, regressors.PolynomialRegressor

KINDS = {
    "multivariate": (Multivariate, 1),
    "polynomial of degree 1": (lambda: Polynomial(degree=1), 1),
    "polynomial of degree 2": (lambda: Polynomial(degree=2), 2),
    "polynomial of degree 3": (lambda: Polynomial(degree=3), 3),
}
kinds = pytest.mark.parametrize(("create", "degree"), KINDS.values(), ids=KINDS.keys())
either = pytest.mark.parametrize("create", [Multivariate, Polynomial])


def theirs(degree: int) -> Any:
    """The same polynomials, of features that are scaled in another way, which changes no prediction."""
    return make_pipeline(StandardScaler(), PolynomialFeatures(degree, include_bias=False), LinearRegression())


def close(ours: Any, expected: Any, y: np.ndarray) -> None:
    """Equal to 1e-8 of the size of y."""
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-8 * max(1.0, float(np.abs(y).max())))


@st.composite
def problems(draw: st.DrawFn, most_features: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Data that determine a polynomial up to degree 3: features of different size and place, y with noise."""
    features = draw(st.integers(1, most_features))
    rows = draw(st.integers(60, 120))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scales = np.array(draw(st.lists(st.floats(0.05, 20), min_size=features, max_size=features)))
    offsets = np.array(draw(st.lists(st.floats(-3, 3), min_size=features, max_size=features)))
    unit = random.uniform(-1, 1, (rows, features))
    y = unit @ random.normal(size=features) + (unit**2).sum(axis=1) + random.normal(size=rows)
    return (unit + offsets) * scales, y * draw(st.floats(0.01, 1000))


# ---- The same answers as others ------------------------------------------------------------------------------------


@kinds
@settings(max_examples=60, deadline=None)
@given(problem=problems())
def test_predictions_and_score_are_those_of_scikit_learn(create: Any, degree: int, problem: Any) -> None:
    X, y = problem
    ours, their = create().fit(X, y), theirs(degree).fit(X, y)
    between = (X[:-1] + X[1:]) / 2
    close(ours.predict(between), their.predict(between), y)
    assert ours.score(X, y) == pytest.approx(r2_score(y, their.predict(X)), abs=1e-8)


@settings(max_examples=100, deadline=None)
@given(problem=problems())
def test_coefficients_are_those_of_lstsq(problem: Any) -> None:
    X, y = problem
    model = Multivariate().fit(X, y)
    expected, *_ = np.linalg.lstsq(np.column_stack([np.ones(len(X)), X]), y, rcond=None)
    size = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose([model.intercept, *model.coefficients], expected, rtol=1e-8, atol=1e-8 * size)


@settings(max_examples=60, deadline=None)
@given(problem=problems(most_features=3), copies=st.integers(1, 3))
def test_where_columns_depend_on_each_other_the_fit_is_as_good_as_that_of_lstsq(problem: Any, copies: int) -> None:
    independent, y = problem
    X = np.column_stack(
        [independent, independent[:, :1] * 2 - 1, *[independent.sum(axis=1)] * copies, np.full(len(y), 7.0)]
    )
    model = Multivariate().fit(X, y)
    A = np.column_stack([np.ones(len(X)), X])
    expected, *_ = np.linalg.lstsq(A, y, rcond=None)
    close(model.predict(X), A @ expected, y)
    assert model.coefficients[-1] == 0  # of the constant column
    close(Polynomial(degree=2).fit(X, y).predict(X), theirs(2).fit(independent, y).predict(independent), y)


def test_of_many_answers_it_is_the_shortest_one() -> None:
    X = np.random.default_rng(1).normal(size=(40, 2))
    X = np.column_stack([X, X[:, 0]])  # the same feature twice, so half of its coefficient for each
    y = 3 * X[:, 0] - X[:, 1] + 5
    model = Multivariate().fit(X, y)
    np.testing.assert_allclose(model.coefficients, [1.5, -1, 1.5], atol=1e-12)
    assert model.intercept == pytest.approx(5, abs=1e-12)


# ---- What holds for any data ---------------------------------------------------------------------------------------


@kinds
@settings(max_examples=40, deadline=None)
@given(problem=problems())
def test_residuals_have_the_mean_0_and_are_independent_of_the_features(create: Any, degree: int, problem: Any) -> None:
    X, y = problem
    residuals = y - create().fit(X, y).predict(X)
    centered = X - X.mean(axis=0)
    close([residuals.mean(), *(centered / np.abs(centered).max(axis=0)).T @ residuals / len(y)], 0, y)


@kinds
@settings(max_examples=40, deadline=None)
@given(problem=problems(), data=st.data())
def test_a_prediction_does_not_depend_on_what_is_beside_it(create: Any, degree: int, problem: Any, data: Any) -> None:
    X, y = problem
    model = create().fit(X, y)
    together = model.predict(X)
    row = data.draw(st.integers(0, len(X) - 1))
    assert model.predict(X[row : row + 1])[0] == together[row]
    assert np.array_equal(model.predict(X[::-1]), together[::-1])


@kinds
@settings(max_examples=40, deadline=None)
@given(problem=problems(), scale=st.floats(1e-6, 1e6), shift=st.floats(-5, 5))
def test_units_do_not_matter(create: Any, degree: int, problem: Any, scale: float, shift: float) -> None:
    X, y = problem
    in_other_units = X * scale + shift * scale * np.abs(X).max(axis=0)
    expected = create().fit(X, y).predict(X)
    close(create().fit(in_other_units, y).predict(in_other_units), expected, y)


@settings(max_examples=40, deadline=None)
@given(problem=problems())
def test_a_higher_degree_fits_no_worse(problem: Any) -> None:
    X, y = problem
    scores = [Polynomial(degree=degree).fit(X, y).score(X, y) for degree in (1, 2, 3)]
    assert scores == sorted(scores) or max(np.diff(scores[::-1])) < 1e-9
    assert 0 <= scores[0] + 1e-9 <= 1 + 2e-9


@kinds
def test_a_polynomial_is_found_exactly(create: Any, degree: int) -> None:
    X = np.random.default_rng(2).uniform(-2, 2, (100, 2))
    y = 1 + X[:, 0] ** degree - 3 * X[:, 0] ** (degree - 1) * X[:, 1]
    model = create().fit(X, y)
    close(model.predict(X), y, y)
    assert model.score(X, y) == pytest.approx(1, abs=1e-12)


@either
def test_fit_returns_itself_and_the_state_can_be_restored(create: Any) -> None:
    X, y = np.random.default_rng(3).normal(size=(50, 2)), np.arange(50.0)
    model = create()
    assert model.fit(X, y) is model
    assert np.array_equal(create().restore(model.to_dict()).predict(X), model.predict(X))


@either
def test_many_rows_are_one_computation(create: Any) -> None:
    random = np.random.default_rng(4)
    model = create().fit(random.normal(size=(100, 3)), random.normal(size=100))
    assert model.predict(random.normal(size=(200_000, 3))).shape == (200_000,)


# ---- Degenerate input ----------------------------------------------------------------------------------------------

GOOD = np.arange(20.0).reshape(10, 2) ** 1.5
NAN, INFINITE = GOOD.copy(), GOOD.copy()
NAN[3, 1], INFINITE[0, 0] = np.nan, -np.inf

REFUSED = {
    "NaN": (NAN, np.arange(10), "X holds nan in row 3, column 1"),
    "infinite": (INFINITE, np.arange(10), "X holds -inf in row 0, column 0"),
    "NaN in y": (GOOD, [1.0] * 9 + [np.nan], "y holds nan in row 9"),
    "no rows": (np.empty((0, 2)), [], r"X has 0 row\(s\)"),
    "one row": (GOOD[:1], [1.0], r"X has 1 row\(s\): at least two"),
    "too few rows": (GOOD[:2], [1.0, 2.0], "X has 2 rows, and there are [36] coefficients"),
    "other rows": (GOOD, [1.0], "X has 10 rows and y has 1"),
    "no columns": (np.empty((5, 0)), [1.0] * 5, "X has no columns"),
    "one dimension": (np.arange(10.0), np.arange(10.0), r"X must have the shape \(rows, features\)"),
    "a column as y": (GOOD, np.arange(10.0).reshape(10, 1), r"y must have the shape \(rows,\)"),
    "words": ([["a", "b"]] * 10, np.arange(10), "X must hold numbers"),
    "None": ([[1, None]] * 10, np.arange(10), "X holds nan in row 0, column 1"),
    "ragged": ([[1], [1, 2]], [1, 2], "X must hold numbers"),
}


@either
@pytest.mark.parametrize(("X", "y", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_degenerate_input_is_refused_with_its_cause(create: Any, X: Any, y: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        create().fit(X, y)


def test_values_whose_squares_are_infinite_are_refused_or_scaled() -> None:
    y = np.arange(10.0)
    with pytest.raises(ValueError, match="too large"):
        Multivariate().fit(GOOD * 1e305, y)
    close(Polynomial(degree=2).fit(GOOD * 1e305, y).predict(GOOD * 1e305), theirs(2).fit(GOOD, y).predict(GOOD), y)


@either
@pytest.mark.parametrize("constant", [0.0, 0.1, 1e9, -1e-300])
def test_constant_columns_take_no_part(create: Any, constant: float) -> None:
    X, y = np.random.default_rng(5).normal(size=(50, 1)), np.arange(50.0)
    expected = create().fit(X, y).predict(X)
    with_constant = np.column_stack([np.full(50, constant), X])
    close(create().fit(with_constant, y).predict(with_constant), expected, y)


@either
def test_where_everything_is_constant_the_mean_is_the_answer(create: Any) -> None:
    model = create().fit(np.full((10, 1), 3.0), np.arange(10.0))
    assert model.predict([[3.0], [99.0]]).tolist() == [4.5, 4.5]


@either
def test_what_cannot_be_predicted_or_scored_is_refused(create: Any) -> None:
    with pytest.raises(ValueError, match="is not fitted"):
        create().predict(GOOD)
    model = create().fit(GOOD, np.arange(10.0))
    with pytest.raises(ValueError, match="X has 1 columns; the regressor was fitted on 2"):
        model.predict(GOOD[:, :1])
    with pytest.raises(ValueError, match="X holds nan in row 3"):
        model.predict(NAN)
    with pytest.raises(ValueError, match="R² is not defined"):
        model.score(GOOD, np.ones(10))
    with pytest.raises(ValueError, match="R² is not defined"):
        model.score(GOOD[:1], [1.0])
    assert model.predict(np.empty((0, 2))).shape == (0,)


@pytest.mark.parametrize("degree", [0, -1, 1.5, "2", True, None])
def test_a_degree_is_a_whole_number(degree: Any) -> None:
    with pytest.raises(ValueError, match="degree must be a whole number from 1"):
        Polynomial(degree=degree)


def test_a_polynomial_of_too_many_coefficients_is_refused() -> None:
    with pytest.raises(ValueError, match="degree 5 of 100 features has 96560646 coefficients"):
        Polynomial(degree=5).fit(np.ones((10, 100)), np.ones(10))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_small_table_gets_an_answer_or_a_reason(data: Any) -> None:
    rows, features = data.draw(st.integers(0, 8)), data.draw(st.integers(1, 2))
    numbers = st.floats(allow_nan=True, allow_infinity=True, width=64)
    X = np.array(data.draw(st.lists(numbers, min_size=rows * features, max_size=rows * features))).reshape(
        rows, features
    )
    y = np.array(data.draw(st.lists(numbers, min_size=rows, max_size=rows)))
    reasons: set[str] = set()
    for create in (Multivariate, Polynomial):
        model = create()
        try:
            predicted = model.fit(X, y).predict(X)
        except ValueError as error:
            reasons.add(str(error))
        else:
            assert np.isfinite(predicted).all()
            assert predicted.shape == (rows,)
    assert all(reasons)
