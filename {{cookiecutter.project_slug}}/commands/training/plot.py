"""The plot of `make score`: residuals against predictions, as SVG.

Points, two axes and a line at 0 are all it has, so it is written here: a plotting library would have to be installed
for it, in `.venv` or in the image, and is many times as large as the service.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 800, 500
_LEFT, _TOP, _RIGHT, _BOTTOM = 80, 40, 20, 60  # margins
_TICKS = 7  # of an axis, about


def residual_plot(report: dict[str, Any]) -> str | None:
    """An SVG of measured minus predicted values; None where the report has no points.

    Args:
        report: version, metrics, and points: lists of predicted and of measured values.
    """
    points = report.get("points") or {}
    predicted, measured = points.get("predicted") or [], points.get("measured") or []
    if not predicted:
        return None
    residuals = [there - here for here, there in zip(predicted, measured, strict=True)]
    across = _Axis(predicted, _LEFT, _WIDTH - _RIGHT)
    up = _Axis([*residuals, 0.0], _HEIGHT - _BOTTOM, _TOP)
    title = f"{report['version']}: " + ", ".join(f"{name} {value:.4g}" for name, value in report["metrics"].items())
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(_WIDTH / 2, 24, title, 15),
        _text(_WIDTH / 2, _HEIGHT - 14, "predicted", 13),
        f'<g transform="rotate(-90 18 {_HEIGHT / 2})">{_text(18, _HEIGHT / 2, "measured - predicted", 13)}</g>',
    ]
    for value in across.ticks():
        x = across.place(value)
        lines += [_line(x, _TOP, x, _HEIGHT - _BOTTOM, "#ddd"), _text(x, _HEIGHT - _BOTTOM + 18, f"{value:g}", 11)]
    for value in up.ticks():
        y = up.place(value)
        lines += [_line(_LEFT, y, _WIDTH - _RIGHT, y, "#ddd"), _text(_LEFT - 8, y + 4, f"{value:g}", 11, "end")]
    lines.append(_line(_LEFT, up.place(0), _WIDTH - _RIGHT, up.place(0), "#555"))
    lines += [
        f'<circle cx="{across.place(x):.1f}" cy="{up.place(y):.1f}" r="2.5" fill="#1f77b4" fill-opacity="0.5"/>'
        for x, y in zip(predicted, residuals, strict=True)
    ]
    return "\n".join([*lines, "</svg>", ""])


class _Axis:
    """Values along a line of the picture, from one coordinate to another."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        low, high = min(values), max(values)
        room = (high - low) * 0.04 or abs(high) or 1.0
        self._low, self._high = low - room, high + room
        self._start, self._end = start, end

    def place(self, value: float) -> float:
        """The coordinate of a value."""
        return self._start + (value - self._low) / (self._high - self._low) * (self._end - self._start)

    def ticks(self) -> Iterator[float]:
        """Round values: multiples of 1, 2 or 5 times a power of ten."""
        rough = (self._high - self._low) / _TICKS
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
        for number in range(math.ceil(self._low / step), math.floor(self._high / step) + 1):
            yield number * step


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, text: str, size: int, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">{escape(text)}</text>'
