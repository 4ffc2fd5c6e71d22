"""The connectors that the example's README shows, as it shows them, over real files: they bring the same table."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from tests.support import markdown
from tests.support.bakery import TEMPLATE, bake

README = TEMPLATE / "examples/regression/app/data/README.md"
SOURCES = {block.attributes["file"]: block.text for block in markdown.blocks(README)}
HOUSES = [(number % 7 + 1, 20.5 + number, 1000.0 + 3 * number) for number in range(1000)]
SHOW = """
import numpy as np
from app.data.{module} import SOURCE
table = SOURCE.table()
part = SOURCE.table(990)
assert (table.features, table.target, len(SOURCE)) == (("rooms", "area"), "price", 1000)
assert table.X.shape == (1000, 2) and table.X.dtype == table.y.dtype == float
assert np.array_equal(part.X, table.X[990:]) and np.array_equal(SOURCE.table(10, 20).y, table.y[10:20])
assert SOURCE.table(5, 5).X.shape == (0, 2) and len(SOURCE.table(1000)) == 0
print(table.digest())
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, with the README's connectors and the files that they name."""
    project = bake(tmp_path_factory.mktemp("connectors"), example="regression", project_slug="houses")
    for name, text in SOURCES.items():
        (project / "app/data" / name).write_text(text)
    with closing(sqlite3.connect(project / "app/assets/houses.sqlite")) as database, database:
        database.execute("CREATE TABLE houses (price REAL, rooms INTEGER, area REAL)")
        database.executemany("INSERT INTO houses (rooms, area, price) VALUES (?, ?, ?)", HOUSES)
    columns = dict(zip(("rooms", "area", "price"), zip(*HOUSES, strict=True), strict=True))
    pyarrow.parquet.write_table(pyarrow.table(columns), project / "app/assets/houses.parquet", row_group_size=300)
    return project


def run(project: Path, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=project, env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_the_readme_shows_both() -> None:
    assert sorted(SOURCES) == ["parquet.py", "sqlite_source.py"]


def test_both_bring_the_same_table(project: Path) -> None:
    digests = []
    for name in SOURCES:
        done = run(project, SHOW.format(module=Path(name).stem))
        assert done.returncode == 0, f"{name}: {done.stderr}"
        digests.append(done.stdout)
    assert digests[0] == digests[1]


def test_rows_that_do_not_fit_are_refused(project: Path) -> None:
    code = """
from app.data.connector import Connector
class Bad(Connector):
    features, target = ("a",), "b"
    def rows(self, start=0, stop=None): return {rows}
try: Bad().table()
except ValueError as error: print(error)
"""
    assert "row 1 has 3 values; 2 are needed" in run(project, code.format(rows="[(1, 2), (1, 2, 3)]")).stdout
    assert "rows 0 to 2 hold what is no number" in run(project, code.format(rows="[(1, 2), (1, 'x')]")).stdout
