"""The tables of the comparison, from the raw figures that compare.py keeps; and what the top README says of them.

python3 bench/comparison.py FILE... [WRITE=1]

With several files, a later one replaces what an earlier one has of the same workload and number of connections.
"""

from __future__ import annotations

import json
import statistics
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import report
import servers
from paths import README

OURS = "ours"
Row = Mapping[str, Any]
Key = tuple[str, int]  # a workload and a number of connections
NOT_MEASURED = "-"


def main(words: Sequence[str]) -> None:
    """Make the tables of these files."""
    files = [Path(word) for word in words if "=" not in word]
    options = report.options([word for word in words if "=" in word], WRITE="0")
    if not files:
        raise SystemExit("Which files? compare.py says where it keeps its raw figures.")
    publish(files, options["WRITE"])


def publish(files: Iterable[Path], write: str) -> None:
    """Print the tables; with WRITE=1 put them into RESULTS.md, and the summary of the top README into that."""
    figures = Figures([json.loads(path.read_text(encoding="utf-8")) for path in files])
    report.publish("comparison", tables(figures), write)
    if text := summary(figures):
        report.publish("measured", text, write, README)


@dataclass(frozen=True)
class Ratio:
    """Ours by theirs, pair by pair: the median and its quartiles."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        median = f"{self.median:.2f}"
        return f"{f'**{median}**' if self.median < 1 else median} ({self.low:.2f}-{self.high:.2f})"


class Figures:
    """What was measured, in one run or in several."""

    def __init__(self, runs: Sequence[Mapping[str, Any]]) -> None:
        self.conditions: list[str] = []
        self._turns: dict[Key, list[Row]] = {}
        self.asynchronous: list[Row] = []
        self.checked: list[Row] = []
        self.missing: list[Row] = []
        for run in runs:
            self.conditions.append(run["conditions"])
            new: dict[Key, list[Row]] = {}
            for turn in run["turns"]:
                new.setdefault((turn["workload"], turn["connections"]), []).append(turn)
            self._turns |= new
            self.asynchronous = run["asynchronous"] or self.asynchronous
            self.checked += run["checked"]
            self.missing += [row for row in run["missing"] if row not in self.missing]

    @property
    def keys(self) -> list[Key]:
        """Workloads with their numbers of connections, in the order of the tables."""
        order = list(servers.WORKLOADS)
        return sorted(self._turns, key=lambda key: (order.index(key[0]), key[1]))

    @property
    def peers(self) -> list[str]:
        """The other servers that took part, in the order of the tables."""
        measured = {turn["server"] for turns in self._turns.values() for turn in turns}
        return [name for name in servers.PEERS if name in measured]

    def turns(self, key: Key, server: str) -> list[Row]:
        """The turns of a server."""
        return [turn for turn in self._turns.get(key, []) if turn["server"] == server]

    def median(self, key: Key, server: str, figure: str) -> float:
        """The median of a figure over a server's turns."""
        return statistics.median(turn[figure] for turn in self.turns(key, server))

    def ratio(self, key: Key, peer: str, figure: str) -> Ratio | None:
        """This service's figure by a peer's; nothing where one of them was not measured."""
        return ratio(self.turns(key, OURS), self.turns(key, peer), figure)

    def every(self, server: str) -> list[Row]:
        """All turns of a server."""
        return [turn for turns in self._turns.values() for turn in turns if turn["server"] == server]


def ratio(ours: Iterable[Row], theirs: Iterable[Row], figure: str) -> Ratio | None:
    """The median with its quartiles of the ratios of those turns that belong to the same round."""
    by_round = {turn["round"]: turn[figure] for turn in theirs}
    found = sorted(turn[figure] / max(by_round[turn["round"]], 1e-9) for turn in ours if turn["round"] in by_round)
    if not found:
        return None
    low, median, high = statistics.quantiles(found, n=4, method="inclusive") if len(found) > 1 else found * 3
    return Ratio(median, low, high)


def tables(figures: Figures) -> str:
    """The section of RESULTS.md."""
    parts = [_ratios(figures), _conditions(figures), _absolute(figures), _configurations(figures)]
    parts += [_missing(figures), _asynchronous(figures), _goals(figures)]
    return "\n\n".join(part for part in parts if part)


# What the top README tells of: rows of the table, and the servers beside this one.
_SHOWN: tuple[tuple[str, Key], ...] = (
    ("small support vector machine, 1 client", ("iris", 1)),
    ("the same, 64 clients", ("iris", 64)),
    ("random forest of 200 trees, 64 clients", ("forest", 64)),
    ("tables of 10,000 rows, 64 clients", ("bulk", 64)),
)
_BESIDE = ("fastapi", "mosec32", "litserve", "bentoml")


def summary(figures: Figures) -> str:
    """The six lines of the top README's table, and what they say; nothing until all of FastAPI was measured."""
    if not all(figures.ratio(key, "fastapi", "rate") for _, key in _SHOWN):
        return ""
    peers = [name for name in _BESIDE if name in figures.peers]
    rows = []
    for title, key in _SHOWN:
        ratios = [figures.ratio(key, name, "rate") for name in peers]
        cells = [f"{found.median:.2f}" if found else NOT_MEASURED for found in ratios]
        rows.append([title, f"{figures.median(key, OURS, 'rate'):.0f}", *cells])
    text = (
        f"Requests per second, and by how much that is more (or, below 1, less) than the others answer, each with the "
        f"model in {servers.PROCESSES} processes on the same machine, in turns. Of these, only here does what was "
        "accepted with a task id survive a restart. [All figures](bench/RESULTS.md), and how they were measured."
    )
    head = ["requests per second; times those of", "denzel-template", *map(_title, peers)]
    return "\n\n".join([report.table(head, rows), "\n".join(_wrapped(text))])


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 120, break_long_words=False, break_on_hyphens=False)


def _ratios(figures: Figures) -> str:
    """The first table: where this service stands."""
    peers = figures.peers
    head = ["workload", "connections", "denzel-template: requests/s, p50 ms", *(_title(name) for name in peers)]
    rows = []
    for key in figures.keys:
        ours = f"{figures.median(key, OURS, 'rate'):.0f}, {figures.median(key, OURS, 'p50'):.1f}"
        cells = [_faults(figures.turns(key, OURS), ours)]
        cells += [
            _faults(figures.turns(key, name), str(figures.ratio(key, name, "rate") or NOT_MEASURED)) for name in peers
        ]
        rows.append([key[0], key[1], *cells])
    return report.table(head, rows) if rows else ""


def _conditions(figures: Figures) -> str:
    each = (
        "Each cell of another server: the requests per second of denzel-template divided by its own, round by round; "
        "the median, and the quartiles in brackets. **Bold**: denzel-template is behind."
    )
    return "\n\n".join(dict.fromkeys([each, *figures.conditions]))


def _absolute(figures: Figures) -> str:
    names = [OURS, *figures.peers]
    head = ["requests/s, p50 / p99 ms, CPU ms a request", "connections", *map(_title, names)]
    rows = []
    for key in figures.keys:
        cells = []
        for name in names:
            if figures.turns(key, name):
                rate, p50, p99 = (figures.median(key, name, figure) for figure in ("rate", "p50", "p99"))
                cpu = statistics.median(sum(turn["cpu"].values()) for turn in figures.turns(key, name))
                cells.append(f"{rate:.0f}, {p50:.1f} / {p99:.1f}, {cpu:.2f}")
            else:
                cells.append(NOT_MEASURED)
        rows.append([key[0], key[1], *cells])
    return report.table(head, rows) if rows else ""


def _configurations(figures: Figures) -> str:
    """How each server is set up, and whether it answered what it should."""
    rows = []
    for name in (OURS, *figures.peers):
        turns = figures.every(name)
        checked = sum(row["checked"] for row in figures.checked if row["server"] == name)
        about = "as it is baked" if name == OURS else servers.PEERS[name].about
        checked += sum(turn["checked"] for turn in turns)
        faults = [sum(turn[figure] for turn in turns) for figure in ("wrong", "errors")]
        rows.append([f"{_title(name)}: {about}", checked, *faults])
    head = ["server and its configuration", "answers checked", "wrong", "errors"]
    return report.table(head, rows) if figures.keys else ""


def _missing(figures: Figures) -> str:
    lines = [f"- {_title(row['server'])}, {row['workload']}: {row['reason']}" for row in figures.missing]
    return "\n".join(["Left out:", "", *lines]) if lines else ""


def _asynchronous(figures: Figures) -> str:
    rows = []
    for name in dict.fromkeys(row["server"] for row in figures.asynchronous):
        turns = [row for row in figures.asynchronous if row["server"] == name]
        ours = [row for row in figures.asynchronous if row["server"] == OURS]
        cells = []
        for figure in ("accepted", "delivered"):
            median = f"{statistics.median(row[figure] for row in turns):.0f}"
            cells.append(median if name == OURS else f"{median}: {ratio(ours, turns, figure)}")
        sums = [sum(row[figure] for row in turns) for figure in ("tasks", "lost", "errors")]
        rows.append([_title(name), *cells, *sums])
    head = ["asynchronous: tasks per second, ours by theirs", "accepted", "delivered", "tasks", "lost", "errors"]
    return report.table(head, rows) if rows else ""


def _title(name: str) -> str:
    return "denzel-template" if name == OURS else servers.PEERS[name].title


def _faults(turns: Sequence[Row], text: str) -> str:
    """The cell, with what went wrong."""
    errors, wrong = (sum(turn[figure] for turn in turns) for figure in ("errors", "wrong"))
    return text + f", {errors} errors" * bool(errors) + f", {wrong} wrong" * bool(wrong)


@dataclass(frozen=True)
class Goal:
    """What this project means to reach against the best of some peers: in requests per second, or in the p50."""

    workload: str
    connections: int
    peers: tuple[str, ...]
    limit: float
    figure: str = "rate"

    def best(self, figures: Figures) -> tuple[float, str] | None:
        """The ratio to the peer that this service is worst against, and its name."""
        key = self.workload, self.connections
        found = [
            (ratio.median, name) for name in self.peers if (ratio := figures.ratio(key, name, self.figure)) is not None
        ]
        worst: Callable[..., tuple[float, str]] = min if self.figure == "rate" else max
        return worst(found) if found else None


_EVERY = servers.USUAL
GOALS = (
    Goal("forest", 16, ("mosec", "mosec32", "litserve"), 1.2),
    Goal("forest", 64, ("mosec", "mosec32", "litserve"), 1.2),
    Goal("forest", 1, ("fastapi",), 1.1, "p50"),
    Goal("blob", 1, ("fastapi",), 1.25, "p50"),
    Goal("blob", 16, _EVERY, 1.0),
    Goal("bulk", 1, _EVERY, 1.2),
    Goal("bulk", 16, _EVERY, 1.2),
    Goal("iris", 1, ("fastapi",), 1.5, "p50"),
    Goal("iris", 16, ("fastapi",), 1.4),
    Goal("iris", 64, ("fastapi",), 2.2),
    Goal("iris", 64, ("mosec", "mosec32"), 0.7),
)


def _goals(figures: Figures) -> str:
    rows = []
    for goal in GOALS:
        if (found := goal.best(figures)) is not None:
            value, name = found
            reached = value >= goal.limit if goal.figure == "rate" else value <= goal.limit
            unit = "requests/s" if goal.figure == "rate" else "p50"
            limit = f"at {'least' if goal.figure == 'rate' else 'most'} {goal.limit:g}"
            title = f"{goal.workload}, {goal.connections}: {unit}, {_title(name)}"
            rows.append([title, f"{value:.2f}", limit, "yes" if reached else "**no**"])
    head = ["goal: workload, connections, the strongest of the servers it names", "ours by its", "goal", "reached"]
    return report.table(head, rows) if rows else ""


if __name__ == "__main__":
    main(sys.argv[1:])
