"""Tables of what was measured, and the conditions that it was measured under; RESULTS.md holds them."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import environments
import service
from paths import REPOSITORY, RESULTS


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


def chosen(options: Mapping[str, str], name: str, among: Iterable[str]) -> list[str]:
    """The words of an option that takes some of these, separated by commas."""
    known, words = list(among), options[name].split(",")
    if unknown := [word for word in words if word not in known]:
        raise SystemExit(f"{name}: there is no {', '.join(unknown)}. There are: {', '.join(known)}")
    return words


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; the first column to the left, the others to the right."""
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join(lines)


def publish(section: str, text: str, write: str, path: Path | None = None) -> None:
    """Print a section of RESULTS.md, or of another file; with WRITE=1 put it there, between its two marks."""
    print(f"\n{text}")
    if write != "1":
        return
    path = path or RESULTS
    old = path.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {section} -->\n).*?(<!-- /{section} -->)", re.DOTALL)
    new, count = pattern.subn(lambda match: f"{match[1]}{text}\n{match[2]}", old)
    if count != 1:
        raise SystemExit(f"{path.name} has no place for {section}: <!-- {section} --> ... <!-- /{section} -->")
    path.write_text(new, encoding="utf-8")


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
    others = []
    packages = {re.sub(r"\d+$", "", name).replace("batching", "fastapi") for name in peers}
    for name in sorted(packages & environments.PACKAGES.keys()):
        version = "0.3.0" if name == "denzel" else environments.peer(name).versions().get(name, "?")
        others.append(f"{name} {version}")
    if others:
        lines.append(f"Others: {', '.join(others)}.")
    given = ", ".join(f"{name}={value}" for name, value in options.items() if name != "WRITE")
    lines.append(f"{given}. Load average at the end: {os.getloadavg()[1]:.1f}.")
    return "\n".join(lines)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _word_after(mark: str, text: str) -> str:
    return text.partition(mark)[2].split(" ")[0]
