"""Data for a beginning: points around a function."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.data.connector import Connector


def function(x1: np.ndarray, x2: np.ndarray) -> np.ndarray:
    """What the points lie around."""
    return 2 + 3 * x1 - x2 + 0.5 * x1 * x2 + 0.25 * x2**2


class GeneratedPoints(Connector):
    """Points around `function`, the same ones for the same seed.

    Args:
        count: the number of points.
        seed: of the random numbers.
        noise: the standard deviation of the points' distance from the function.
    """

    features = ("x1", "x2")
    target = "y"

    def __init__(self, count: int = 2000, seed: int = 1, noise: float = 0.3) -> None:
        self._count, self._seed, self._noise = count, seed, noise

    def __len__(self) -> int:
        return self._count

    def rows(self, start: int = 0, stop: int | None = None) -> Sequence[Sequence[float]]:
        """See `Connector`."""
        random = np.random.default_rng(self._seed)
        x1, x2 = random.uniform(-3, 3, (2, self._count))
        y = function(x1, x2) + random.normal(0, self._noise, self._count)
        return np.column_stack([x1, x2, y])[start:stop].tolist()
