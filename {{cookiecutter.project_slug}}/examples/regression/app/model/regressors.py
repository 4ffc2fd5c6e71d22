"""Two regressors with the three methods of every model: `fit`, `predict`, `score`.

Both solve a linear least squares problem: of all b they find the one for which the sum of the squares of y - A b is
smallest. The columns of A are brought to mean 0 and standard deviation 1 before, which the intercept and the
coefficients make up for; A is then taken apart into its singular values (A = U S V'), so that b = V S^-1 U' y. No
matrix is inverted, and A'A is never formed, which would square the condition number. Where A has columns that depend
on each other (a constant column does), there are many such b, with the same predictions for the data they were fitted
on: this is the shortest one, in which a constant column has the coefficient 0. Singular values of up to 1e-10 of the
largest one count as 0: what rounding leaves of columns that depend on each other is smaller than that.

Source: G. H. Golub and C. F. Van Loan, Matrix Computations, 4th edition, Johns Hopkins University Press 2013: section
5.3 (the full-rank problem) and 5.5 (by singular values, with the shortest solution). R²: N. R. Draper and H. Smith,
Applied Regression Analysis, 3rd edition, Wiley 1998, section 1.3.

Refused with a ValueError that names the cause: what is no number, NaN or infinite; fewer than two rows; fewer rows than
there are coefficients to find; arrays whose shapes do not fit; values so large that squares of them are infinite.
"""

from __future__ import annotations

from itertools import combinations_with_replacement
from math import comb
from typing import Any

import numpy as np

RANK_TOLERANCE = 1e-10  # of the largest singular value


class Regressor:
    """What the regressors share. X has the shape (rows, features), y the shape (rows,)."""

    def __init__(self) -> None:
        self.features = 0  # columns of X; 0 as long as it is not fitted
        self.intercept = 0.0
        self.coefficients = np.zeros(0)

    def fit(self, X: Any, y: Any) -> Regressor:
        """Find intercept and coefficients; returns itself. Raises ValueError, see above."""
        X, y = _matrix(X), _vector(y)
        if len(X) != len(y):
            raise ValueError(f"X has {len(X)} rows and y has {len(y)}: they must have the same number")
        if len(X) < 2:
            raise ValueError(f"X has {len(X)} row(s): at least two are needed to see how y depends on X")
        with np.errstate(over="ignore", invalid="ignore"):
            self._learn_scale(X)
            A = self._columns(X)
            if not np.isfinite(A).all():
                raise ValueError("X holds values that are too large to compute with")
            if len(A) < A.shape[1] + 1:
                raise ValueError(
                    f"X has {len(A)} rows, and there are {A.shape[1] + 1} coefficients to find "
                    "(one of them the intercept): as many rows are needed at least"
                )
            self.intercept, self.coefficients = _least_squares(A, y)
        self.features = X.shape[1]
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The predictions, of shape (rows,), all of them in one computation. Raises ValueError, see above."""
        if not self.features:
            raise ValueError("the regressor is not fitted: call fit(X, y) first")
        X = _matrix(X)
        if X.shape[1] != self.features:
            raise ValueError(f"X has {X.shape[1]} columns; the regressor was fitted on {self.features}")
        with np.errstate(over="ignore", invalid="ignore"):
            # einsum, not @: a row's sum has the same order whatever rows are beside it, so its prediction is the same
            y = self.intercept + np.einsum("rc,c->r", self._columns(X), self.coefficients)
        if not np.isfinite(y).all():
            raise ValueError(f"row {int(np.argmin(np.isfinite(y)))} of X is so large that its prediction is infinite")
        return y

    def score(self, X: Any, y: Any) -> float:
        """R², the part of the variance of y that the predictions explain: 1 at best, 0 for the mean of y, or less.

        Raises ValueError: see above; all y are the same, so that there is no variance to explain.
        """
        y = _vector(y)
        residuals = y - self.predict(X)
        if len(y) < 2 or np.ptp(y) == 0:
            raise ValueError("all values of y are the same (or there is one alone): R² is not defined")
        scale = np.abs(y - y.mean()).max()  # against squares that are infinite, or 0
        return float(1 - np.sum((residuals / scale) ** 2) / np.sum(((y - y.mean()) / scale) ** 2))

    def to_dict(self) -> dict[str, Any]:
        """All that the regressor has learned, as JSON can hold it."""
        return {
            "features": self.features,
            "intercept": self.intercept,
            "coefficients": self.coefficients.tolist(),
        }

    def restore(self, state: dict[str, Any]) -> Regressor:
        """Take over what `to_dict` returned; returns itself."""
        self.features, self.intercept = int(state["features"]), float(state["intercept"])
        self.coefficients = np.array(state["coefficients"], dtype=float)
        return self

    def _learn_scale(self, X: np.ndarray) -> None:
        """Learn how X is to be scaled before columns are made of it."""

    def _columns(self, X: np.ndarray) -> np.ndarray:
        """The columns of which y is a linear function."""
        raise NotImplementedError


class MultivariateRegressor(Regressor):
    """y as a linear function of all features: y = intercept + X @ coefficients."""

    def _columns(self, X: np.ndarray) -> np.ndarray:
        return X


class PolynomialRegressor(Regressor):
    """y as a polynomial of all features: a coefficient for each product of features, up to `degree` of them.

    The features are brought to the range from -1 to 1 first: powers of large numbers would hardly differ from each
    other. That changes the coefficients and nothing else: they are those of the scaled features.

    Args:
        degree: the most factors of a product; 1 is what `MultivariateRegressor` does. With n features there are
            comb(n + degree, degree) coefficients, of which 10,000 at most are allowed.
    """

    MOST_COEFFICIENTS = 10_000

    def __init__(self, degree: int = 2) -> None:
        if isinstance(degree, bool) or not isinstance(degree, int) or degree < 1:
            raise ValueError(f"degree must be a whole number from 1, not {degree!r}")
        super().__init__()
        self.degree = degree
        self.center = np.zeros(0)
        self.scale = np.zeros(0)

    def to_dict(self) -> dict[str, Any]:
        """See `Regressor`."""
        scaling = {"center": self.center.tolist(), "scale": self.scale.tolist()}
        return {"degree": self.degree, **scaling, **super().to_dict()}

    def restore(self, state: dict[str, Any]) -> Regressor:
        """See `Regressor`."""
        self.center, self.scale = np.array(state["center"], dtype=float), np.array(state["scale"], dtype=float)
        return super().restore(state)

    def _learn_scale(self, X: np.ndarray) -> None:
        count = comb(X.shape[1] + self.degree, self.degree)
        if count > self.MOST_COEFFICIENTS:
            raise ValueError(
                f"degree {self.degree} of {X.shape[1]} features has {count} coefficients; "
                f"{self.MOST_COEFFICIENTS} are allowed"
            )
        low, high = X.min(axis=0), X.max(axis=0)
        self.center = low / 2 + high / 2
        half = high / 2 - low / 2
        self.scale = np.where(half > 0, half, 1.0)

    def _columns(self, X: np.ndarray) -> np.ndarray:
        Z = (X - self.center) / self.scale
        products = [
            Z[:, list(factors)].prod(axis=1)
            for degree in range(1, self.degree + 1)
            for factors in combinations_with_replacement(range(X.shape[1]), degree)
        ]
        return np.column_stack(products)


def _least_squares(A: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """Intercept and coefficients, as the module's head tells."""
    mean, y_mean = A.mean(axis=0), y.mean()
    centered = np.where(np.ptp(A, axis=0) > 0, A - mean, 0.0)  # rounding would leave something of a constant
    deviation = np.sqrt((centered**2).mean(axis=0))
    if not (np.isfinite(deviation).all() and np.isfinite(y_mean)):
        raise ValueError("X or y holds values that are too large to compute with")
    deviation[deviation == 0] = 1.0
    U, S, Vt = np.linalg.svd(centered / deviation, full_matrices=False)
    used = RANK_TOLERANCE * S[0] < S
    scaled = Vt[used].T @ ((U[:, used].T @ (y - y_mean)) / S[used])
    coefficients = scaled / deviation
    return float(y_mean - mean @ coefficients), coefficients


def _matrix(X: Any) -> np.ndarray:
    X = _numbers(X, "X")
    if X.ndim != 2:
        raise ValueError(f"X must have the shape (rows, features); its shape is {X.shape}")
    if X.shape[1] == 0:
        raise ValueError("X has no columns: at least one feature is needed")
    if not (finite := np.isfinite(X)).all():
        row, column = np.argwhere(~finite)[0]
        raise ValueError(f"X holds {X[row, column]} in row {row}, column {column}: only finite numbers can be used")
    return X


def _vector(y: Any) -> np.ndarray:
    y = _numbers(y, "y")
    if y.ndim != 1:
        raise ValueError(f"y must have the shape (rows,); its shape is {y.shape}")
    if not (finite := np.isfinite(y)).all():
        row = int(np.argmin(finite))
        raise ValueError(f"y holds {y[row]} in row {row}: only finite numbers can be used")
    return y


def _numbers(values: Any, name: str) -> np.ndarray:
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "biuf" and array.dtype.kind != "O":
            raise TypeError(f"values of the type {array.dtype}")
        return array.astype(float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must hold numbers: {error}") from None
