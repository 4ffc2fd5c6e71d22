"""Whether a new model may take the place of the one that serves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Judged:
    """How good a model is, measured on data that neither was fitted on by this training.

    Attributes:
        version: the model's.
        figure: its metric; more is better.
    """

    version: str
    figure: float


def refusal(metric: str, new: float, serving: Judged, tolerance: float) -> str | None:
    """Why the new model is refused, with both figures; None where it is not worse by more than the tolerance."""
    if new >= serving.figure - tolerance:
        return None
    return (
        f"Refused: {metric} of the new model is {new:.6g}, that of the one that serves ({serving.version}) "
        f"{serving.figure:.6g} on the same held-out data; at most {tolerance:g} less is allowed (TOLERANCE in "
        "app/training.py). Nothing was changed. To take it all the same: make train FORCE=1"
    )
