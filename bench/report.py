"""Tables of what was measured, and the conditions that it was measured under; RESULTS.md holds them."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import environments
import service
from paths import REPOSITORY, RESULTS

Results = Sequence[Mapping[str, Any]]


def options(words: Sequence[str], **defaults: str) -> dict[str, str]:
    """The values of NAME=value words over their defaults; an empty value means the default."""
    values = dict(defaults)
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in defaults:
            raise SystemExit(f"{word}? It takes {', '.join(f'{key}={value}' for key, value in defaults.items())}")
        if value:
            values[name] = value
    return values


def number(options: Mapping[str, str], name: str) -> float:
    """The value of an option that must be a number above 0."""
    with contextlib.suppress(ValueError):
        if (value := float(options[name])) > 0:
            return value
    raise SystemExit(f"{name} must be a number above 0, not {options[name]!r}")


def numbers(options: Mapping[str, str], name: str) -> list[int]:
    """The value of an option that must be numbers, separated by commas."""
    return [int(number({name: word}, name)) for word in options[name].split(",")]


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; the first column to the left, the others to the right."""
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join(lines)


def publish(section: str, text: str, write: str) -> None:
    """Print a section of RESULTS.md; with WRITE=1 put it there, between its two marks."""
    print(f"\n{text}")
    if write != "1":
        return
    old = RESULTS.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {section} -->\n).*?(<!-- /{section} -->)", re.DOTALL)
    new, count = pattern.subn(lambda match: f"{match[1]}{text}\n{match[2]}", old)
    if count != 1:
        raise SystemExit(f"{RESULTS.name} has no place for {section}: <!-- {section} --> ... <!-- /{section} -->")
    RESULTS.write_text(new, encoding="utf-8")


def conditions(options: Mapping[str, str], peers: Iterable[str] = ()) -> str:
    """When, where, on what and with which versions."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ).stdout.strip()
    redis = subprocess.run(["redis-server", "--version"], stdout=subprocess.PIPE, text=True).stdout
    found = service.environment().versions()
    shown = ("falcon", "gunicorn", "uvicorn", "celery", "kombu", "redis", "aiohttp", "flower", "scikit-learn", "numpy")
    versions = [f"{name} {found[name]}" for name in shown if name in found]
    lines = [
        f"{datetime.date.today()}, commit {commit}; {_processor()}, {os.cpu_count()} cores, {platform.system()} "
        f"{platform.release()}; the load comes from the same cores.",
        f"Python {platform.python_version()}, Redis {_word_after('v=', redis)}; {', '.join(versions)}.",
    ]
    packages = {"denzel": "denzel", "celery": "celery"}
    others = []
    for name in sorted(set(peers) & environments.PACKAGES.keys()):
        package = packages.get(name, name)
        version = "0.3.0" if name == "denzel" else environments.peer(name).versions().get(package, "?")
        others.append(f"{package} {version}")
    if others:
        lines.append(f"Others: {', '.join(others)}.")
    given = ", ".join(f"{name}={value}" for name, value in options.items() if name not in ("WRITE", "SERVERS"))
    lines.append(f"{given}. Load average at the end: {os.getloadavg()[1]:.1f}.")
    return "\n".join(lines)


def comparison(results: Results, names: Mapping[str, str], options: Mapping[str, str]) -> str:
    """The tables of compare.py."""
    figures = Figures(results)
    peers = {re.sub(r"\d+$", "", name).replace("batching", "fastapi") for name in names}
    parts = [conditions(options, peers), _synchronous(figures, names), _split(figures, names)]
    if any("accepted" in row for row in results):
        parts.append(_asynchronous(figures, names))
    parts.append(_goals(figures))
    return "\n\n".join(part for part in parts if part)


class Figures:
    """The medians of all rounds."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self.connections = sorted({row["connections"] for row in results if "connections" in row})

    def rows(self, server: str, connections: int | None) -> Results:
        """What was measured of a server at a load (None: asynchronously)."""
        return [row for row in self._results if (row["server"], row.get("connections")) == (server, connections)]

    def get(self, server: str, connections: int | None, key: str) -> float | None:
        """A figure's median, None if it was not measured."""
        values = [row[key] for row in self.rows(server, connections)]
        return statistics.median(values) if values else None

    def cpu(self, server: str, connections: int, without: str = "") -> float | None:
        """Milliseconds of CPU for a request, of all processes but one."""
        rows = self.rows(server, connections)
        sums = [sum(value for name, value in row["cpu"].items() if name != without) for row in rows]
        return statistics.median(sums) if sums else None


def _synchronous(figures: Figures, names: Mapping[str, str]) -> str:
    head = ["requests/s, p50 / p99 ms, CPU ms a request", *(f"{number} conn." for number in figures.connections)]
    rows = []
    for name, title in names.items():
        cells = []
        for number in figures.connections:
            rate, p50, p99 = (figures.get(name, number, key) for key in ("rate", "p50", "p99"))
            cpu = figures.cpu(name, number)
            cells.append("-" if rate is None else f"{rate:.0f}, {p50:.2f} / {p99:.1f}, {cpu:.2f}")
        every = [row for number in figures.connections for row in figures.rows(name, number)]
        memory = f"{max(sum(row['memory'].values()) for row in every):.0f}" if every else "-"
        wrong = max((row["wrong"] for row in every), default=0)
        rows.append([title, *cells, memory, sum(row["errors"] for row in every), wrong])
    return table([*head, "MiB", "errors", "wrong answers"], rows)


def _split(figures: Figures, names: Mapping[str, str]) -> str:
    rows = []
    for name, title in names.items():
        found = [figures.rows(name, number) for number in figures.connections]
        if any(found) and len(found[0][0]["cpu"]) > 1:
            rows.append([title, *(", ".join(_parts(measured)) for measured in found)])
    if not rows:
        return ""
    return table(["CPU ms a request, by process", *(f"{number} conn." for number in figures.connections)], rows)


def _parts(rows: Results) -> list[str]:
    return [f"{name} {statistics.median(row['cpu'][name] for row in rows):.3f}" for name in rows[0]["cpu"]]


def _asynchronous(figures: Figures, names: Mapping[str, str]) -> str:
    rows = []
    for name, title in names.items():
        if found := figures.rows(name, None):
            rates = [f"{figures.get(name, None, key):.0f}" for key in ("accepted", "drained")]
            rows.append([title, *rates, *(sum(row[key] for row in found) for key in ("tasks", "lost", "errors"))])
    return table(["asynchronous", "accepted/s", "delivered/s", "tasks", "lost", "errors"], rows)


@dataclass(frozen=True)
class Goal:
    """What this project means to reach, as a ratio to another server or as a figure by itself."""

    title: str
    value: Callable[[Figures], float | None]
    limit: float
    at_most: bool = False


def _ratio(key: str, ours: str, other: str, connections: int | None) -> Callable[[Figures], float | None]:
    def value(figures: Figures) -> float | None:
        above, below = figures.get(ours, connections, key), figures.get(other, connections, key)
        return above / below if above is not None and below else None

    return value


_64, _16, _1 = "64 connections", "16 connections", "1 connection"
_IN_PROCESS = "FastAPI in-process, 2 processes"
GOALS = (
    Goal(f"{_64}, requests/s: {_IN_PROCESS}", _ratio("rate", "ours", "fastapi2", 64), 2.5),
    Goal(f"{_64}, requests/s: LitServe", _ratio("rate", "ours", "litserve", 64), 6.5),
    Goal(f"{_64}, requests/s: MLServer", _ratio("rate", "ours", "mlserver", 64), 8),
    Goal(f"{_64}, requests/s: BentoML", _ratio("rate", "ours", "bentoml", 64), 14),
    Goal(f"{_64}, requests/s: Denzel", _ratio("rate", "ours", "denzel", 64), 38),
    Goal(f"{_16}, requests/s: {_IN_PROCESS}", _ratio("rate", "ours", "fastapi2", 16), 1.5),
    Goal(f"{_16}, requests/s: LitServe", _ratio("rate", "ours", "litserve", 16), 4),
    Goal(f"{_1}, p50: FastAPI in-process", _ratio("p50", "ours", "fastapi1", 1), 1.7, at_most=True),
    Goal(f"{_64}, p99: {_IN_PROCESS}", _ratio("p99", "ours", "fastapi2", 64), 1, at_most=True),
    Goal("asynchronous, accepted/s: Denzel", _ratio("accepted", "ours", "denzel", None), 12),
    Goal("asynchronous, delivered/s: Denzel", _ratio("drained", "ours", "denzel", None), 10),
    Goal(f"{_64}, CPU ms a request but for the monitor", lambda found: found.cpu("ours", 64, "monitor"), 0.40, True),
    Goal(f"inline, {_1}, requests/s: FastAPI in-process", _ratio("rate", "inline", "fastapi1", 1), 1),
    Goal(f"not BATCHABLE, {_64}, requests/s: LitServe", _ratio("rate", "apart", "litserve", 64), 1.2),
)


def _goals(figures: Figures) -> str:
    rows = []
    for goal in GOALS:
        value = goal.value(figures)
        if value is not None:
            reached = value <= goal.limit if goal.at_most else value >= goal.limit
            limit = f"{'at most' if goal.at_most else 'at least'} {goal.limit:g}"
            rows.append([goal.title, f"{value:.2f}", limit, "yes" if reached else "**no**"])
    return table(["denzel-template against", "measured", "goal", "reached"], rows) if rows else ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _word_after(mark: str, text: str) -> str:
    return text.partition(mark)[2].split(" ")[0]
