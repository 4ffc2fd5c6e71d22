"""The plot of `make score`."""

from __future__ import annotations

import math
import random
from xml.etree import ElementTree

import pytest

from commands.training.plot import residual_plot

SVG = "{http://www.w3.org/2000/svg}"


def draw(predicted: list[float], measured: list[float]) -> ElementTree.Element:
    report = {"version": "1<2", "metrics": {"R2": 0.5}, "points": {"predicted": predicted, "measured": measured}}
    text = residual_plot(report)
    assert text
    return ElementTree.fromstring(text)


def test_each_point_has_its_place() -> None:
    picture = draw([0.0, 10.0, 20.0], [1.0, 10.0, 18.0])
    circles = [(float(one.get("cx", "")), float(one.get("cy", ""))) for one in picture.iter(f"{SVG}circle")]
    across, up = zip(*circles, strict=True)
    assert across[0] < across[1] < across[2]
    assert across[1] - across[0] == pytest.approx(across[2] - across[1], abs=0.2)
    assert up[0] < up[1] < up[2], "above the line at 0, on it, below it"
    assert up[2] - up[1] == pytest.approx(2 * (up[1] - up[0]), abs=0.2)
    texts = [one.text for one in picture.iter(f"{SVG}text")]
    assert {"1<2: R2 0.5", "predicted", "measured - predicted", "0", "5", "10"} <= set(texts)


@pytest.mark.parametrize(
    "values", [[0.0], [5.0, 5.0], [1e-12, 2e-12], [-1e9, 1e9], [random.Random(1).gauss(0, 3) for _ in range(500)]]
)
def test_any_values_fit_into_the_picture(values: list[float]) -> None:
    picture = draw(values, [value * 1.1 for value in values])
    places = [(float(one.get("cx", "")), float(one.get("cy", ""))) for one in picture.iter(f"{SVG}circle")]
    assert len(places) == len(values)
    assert all(80 <= x <= 780 and 40 <= y <= 440 for x, y in places)
    assert all(math.isfinite(coordinate) for place in places for coordinate in place)
    assert 6 <= len(list(picture.iter(f"{SVG}text"))) <= 30


@pytest.mark.parametrize("points", [None, {"predicted": [], "measured": []}])
def test_without_points_there_is_no_plot(points: dict | None) -> None:
    assert residual_plot({"version": "1", "metrics": {}, "points": points}) is None
