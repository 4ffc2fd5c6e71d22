"""The user's side of training, `app/training.py`: found, checked, and asked."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from denzel.pipeline.loading import import_training

FILE = "app/training.py"
NEEDED = ("load_data", "fit", "evaluate", "save")


class TrainingError(Exception):
    """It cannot go on; the message says why, and what to do."""


class Training:
    """What a project's app/training.py defines.

    Attributes:
        asset: the name that the asset's file is to have, to which the version is added.
        metric: the name of the figure by which models are compared; more is better.
        tolerance: how much worse than the model that serves a new one may be.
    """

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        missing = [name for name in NEEDED if not callable(getattr(module, name, None))]
        missing += [] if isinstance(getattr(module, "METRIC", None), str) else ["METRIC"]
        if missing:
            raise TrainingError(f"{FILE} must define {', '.join(NEEDED)} and METRIC; missing: {', '.join(missing)}.")
        self.metric: str = module.METRIC
        self.tolerance = float(getattr(module, "TOLERANCE", 0.0))
        self.asset = str(getattr(module, "ASSET", "model"))
        if Path(self.asset).name != self.asset or self.asset.startswith("."):
            raise TrainingError(f"{FILE}: ASSET is the name of a file in app/assets, not {self.asset!r}.")

    def load_data(self, part: str) -> Any:
        """The data: "training", "held-out" or "fresh"."""
        return self._module.load_data(part)

    def fit(self, data: Any) -> Any:
        """A new model."""
        return self._module.fit(data)

    def evaluate(self, model: Any, data: Any) -> dict[str, float]:
        """The model's metrics; `metric` is one of them.

        Raises:
            TrainingError: what the user's function returned are no such figures.
        """
        found = self._module.evaluate(model, data)
        if not isinstance(found, Mapping) or self.metric not in found:
            raise TrainingError(f"{FILE}: evaluate must return a dictionary with {self.metric!r}, not {found!r:.200}.")
        figures = {str(name): float(value) for name, value in found.items()}
        if bad := [name for name, value in figures.items() if not math.isfinite(value)]:
            raise TrainingError(
                f"The model cannot be judged: {', '.join(f'{name} is {figures[name]}' for name in bad)}."
            )
        return figures

    def save(self, model: Any, path: Path) -> None:
        """Write the model into this file."""
        self._module.save(model, path)
        if not path.is_file():
            raise TrainingError(f"{FILE}: save(model, path) has not written the file {path}.")

    def describe(self, data: Any) -> dict[str, Any]:
        """What the card says of the data: their number and digest, as far as they tell."""
        digest = self._optional("digest")
        return {
            "rows": len(data) if hasattr(data, "__len__") else None,
            "digest": str(digest(data)) if digest else "unknown",
        }

    def points(self, model: Any, data: Any, most: int) -> dict[str, list[float]] | None:
        """Predicted and measured values for a plot, of this number of rows at the most; None where nothing tells."""
        points = self._optional("points")
        if points is None:
            return None
        predicted, measured = points(model, data)
        step = max(1, -(-len(predicted) // most))
        return {
            "predicted": [float(value) for value in predicted[::step]],
            "measured": [float(value) for value in measured[::step]],
        }

    def _optional(self, name: str) -> Callable[..., Any] | None:
        found = getattr(self._module, name, None)
        return found if callable(found) else None


def training() -> Training:
    """The project's.

    Raises:
        TrainingError: there is none, or it is incomplete.
    """
    module = import_training() if os.path.exists(FILE) else None
    if module is None:
        raise TrainingError(
            f"There is nothing to train yet: write {', '.join(NEEDED)} and METRIC into {FILE}, as README.md says "
            "(Training)."
        )
    return Training(module)
