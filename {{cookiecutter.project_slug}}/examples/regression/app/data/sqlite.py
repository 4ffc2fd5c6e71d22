"""Data in SQLite: a table of a database file, for reading and for keeping what was ingested."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from app.data.connector import Connector


class SQLite(Connector):
    """The columns of a table in a database file, by the order of its rowid.

    Args:
        path: of the file; it need not exist, and has no rows then.
        table: the table's name.
        features: the names of the columns that are features.
        target: the name of the column that is the target.
    """

    def __init__(self, path: str | Path, table: str, features: Sequence[str], target: str) -> None:
        self.features, self.target = tuple(features), target
        self._path, self._table = Path(path), _quoted(table)
        self._columns = ", ".join(map(_quoted, (*features, target)))

    def __len__(self) -> int:
        found = list(self._select(f"SELECT count(*) FROM {self._table}"))
        return found[0][0] if found else 0

    def rows(self, start: int = 0, stop: int | None = None) -> Iterator[Sequence[float]]:
        """See `Connector`."""
        most = -1 if stop is None else max(0, stop - start)
        yield from self._select(
            f"SELECT {self._columns} FROM {self._table} ORDER BY rowid LIMIT ? OFFSET ?", most, start
        )

    def write(self, start: int, rows: Iterable[Sequence[float]]) -> None:
        """Keep these rows as number `start` and so on, all or, if it fails, none; rows of before are replaced."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        places = ", ".join("?" * (len(self.features) + 2))
        numbered = [(number, *row) for number, row in enumerate(rows, start + 1)]
        with closing(sqlite3.connect(self._path)) as database, database:
            database.execute(f"CREATE TABLE IF NOT EXISTS {self._table} ({self._columns})")
            database.executemany(
                f"INSERT OR REPLACE INTO {self._table} (rowid, {self._columns}) VALUES ({places})", numbered
            )

    def _select(self, query: str, *values: int) -> Iterator[tuple]:
        if self._path.exists():
            with closing(sqlite3.connect(f"{self._path.resolve().as_uri()}?mode=ro", uri=True)) as database:
                yield from database.execute(query, values)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
