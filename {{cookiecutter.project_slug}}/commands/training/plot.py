"""The plot of `make score`, drawn in `.venv`: residuals against predictions. python -m commands.training.plot IN OUT"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from commands.shared.project import MARKERS


def draw(report: dict, path: Path) -> bool:
    """Draw measured minus predicted of a report's points as SVG; False where it has no points."""
    if not (points := report.get("points")):
        return False
    os.environ.setdefault("MPLCONFIGDIR", str(MARKERS / "matplotlib"))  # its cache of fonts
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    residuals = [
        measured - predicted for measured, predicted in zip(points["measured"], points["predicted"], strict=True)
    ]
    axes.scatter(points["predicted"], residuals, s=8, alpha=0.5)
    axes.axhline(0, color="grey", linewidth=1)
    figures = ", ".join(f"{name} {value:.4g}" for name, value in report["metrics"].items())
    axes.set(title=f"{report['version']}: {figures}", xlabel="predicted", ylabel="measured - predicted")
    axes.grid(alpha=0.3)
    figure.savefig(path, format="svg")
    return True


if __name__ == "__main__":
    if draw(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2])):
        print(sys.argv[2])
