"""The one interface to data: a connector brings rows, and makes a table of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Table:
    """What a model is fitted on and judged by.

    Attributes:
        features: the names of the columns of X.
        target: the name of y.
        X: the features, an array of shape (rows, features).
        y: the target, an array of shape (rows,).
    """

    features: tuple[str, ...]
    target: str
    X: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.y)

    def where(self, chosen: np.ndarray) -> Table:
        """The rows for which a boolean array (rows,) says so."""
        return Table(self.features, self.target, self.X[chosen], self.y[chosen])

    def digest(self) -> str:
        """The SHA-256 of names and numbers: the same for the same data, wherever they come from."""
        text = repr((self.features, self.target, self.X.shape)).encode()
        numbers = np.ascontiguousarray(np.column_stack([self.X, self.y]), dtype="<f8").tobytes()
        return hashlib.sha256(text + numbers).hexdigest()


class Connector:
    """Rows in, a table out. A connector of your own says what its columns are, and brings `rows` and their number.

    Attributes:
        features: the names of the features.
        target: the name of the target.
    """

    features: tuple[str, ...]
    target: str

    def rows(self, start: int = 0, stop: int | None = None) -> Iterable[Sequence[float]]:
        """The rows from number `start` up to, without, number `stop` (None: all): the features, then the target.

        The order of the rows stays the same, so that a row has the same number each time.
        """
        raise NotImplementedError

    def __len__(self) -> int:
        """The number of rows."""
        raise NotImplementedError

    def table(self, start: int = 0, stop: int | None = None) -> Table:
        """The same rows as a table.

        Raises ValueError: a row has more or fewer values than there are columns, or one that is no number.
        """
        width = len(self.features) + 1
        rows = list(self.rows(start, stop))
        for number, row in enumerate(rows, start):
            if len(row) != width:
                raise ValueError(
                    f"row {number} has {len(row)} values; {width} are needed: {self.features}, {self.target}"
                )
        try:
            values = np.array(rows, dtype=float).reshape(len(rows), width)
        except (TypeError, ValueError) as error:
            raise ValueError(f"rows {start} to {start + len(rows)} hold what is no number: {error}") from None
        return Table(self.features, self.target, values[:, :-1], values[:, -1])
