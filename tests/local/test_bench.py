"""`make bench` on a service of real processes, in a short form."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local.running import Dev, make

ROW = re.compile(r"^ +(\d+) +([\d.]+) +([\d.]+) +([\d.]+) +(\d+)$", re.MULTILINE)


@pytest.fixture
def asynchronous(iris_dev: Dev) -> Iterator[None]:
    """The live setting is asynchronous; `make bench` asks for synchronous answers all the same."""
    assert make(iris_dev.project, "response", "MODE=async").returncode == 0
    yield
    assert make(iris_dev.project, "response", "MODE=sync").returncode == 0


def test_the_load_rises_and_the_table_the_plot_and_the_advice_tell_what_came(iris_dev: Dev, asynchronous: None) -> None:
    done = make(iris_dev.project, "bench", "DURATION=0.4", "MAX=4")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "/predict   (one_flower, two_flowers)\n" in done.stdout
    rows = ROW.findall(done.stdout)
    assert [connections for connections, *_ in rows] in (["1", "2", "4"], ["1", "2"])
    for _, rate, p50, p99, errors in rows:
        assert float(rate) > 10
        assert 0 < float(p50) <= float(p99)
        assert errors == "0"
    assert re.search(r"^Recommended: \d clients? at a time, [\d.]+ requests/s", done.stdout, re.MULTILINE)
    assert re.search(r"^Batch bound: MAX_BATCH_SIZE=[1248] holds all .* In \.env: 512\.$", done.stdout, re.MULTILINE)
    assert done.stdout.endswith("Plot of latency against throughput: .denzel/bench.svg\n")
    plot = ElementTree.parse(iris_dev.project / ".denzel" / "bench.svg").getroot()
    assert plot.tag == "{http://www.w3.org/2000/svg}svg"


def test_an_example_that_is_refused_can_be_measured_by_its_name(iris_dev: Dev) -> None:
    done = make(iris_dev.project, "bench", "DURATION=0.2", "MAX=1", "EXAMPLE=missing_feature")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ROW.findall(done.stdout)[0][-1] == "0"


def test_an_example_without_predictions_is_shown_and_nothing_is_measured(iris_dev: Dev) -> None:
    path = iris_dev.project / "app" / "assets" / "examples" / "wrong.json"
    path.write_text(json.dumps({"request": {"data": {}}, "response": {}}))
    try:
        done = make(iris_dev.project, "bench", "EXAMPLE=wrong")
    finally:
        path.unlink()
    assert done.returncode == 2
    assert "The example wrong is not answered with predictions. 400 Bad Request" in done.stderr
    assert "must be an object of at least one flower" in done.stderr


def test_without_an_example_it_says_where_to_put_one(plain: Path) -> None:
    done = make(plain, "bench")
    assert done.returncode == 2
    assert done.stderr.startswith("There is no request to send: put one into app/assets/examples, a file NAME.json ")


def test_with_nothing_running_it_says_how_to_start(plain: Path) -> None:
    (plain / "app" / "assets" / "examples" / "one.json").write_text('{"request": {}}')
    done = make(plain, "bench")
    assert done.returncode == 2
    assert done.stderr.startswith('The project is not running: "make launch" (containers) or "make dev" (no Docker).')
