"""Tables of the reference, made from the template's own files as the site is built."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
TEMPLATE = REPOSITORY / "{{cookiecutter.project_slug}}"
# What is different in each project.
_PER_PROJECT = {"COMPOSE_PROJECT_NAME": "the project's slug"}
# What needs no explanation in `.env`, where its name and its section say it.
_OBVIOUS = {"API_PORT": "The ports of the API and of the monitor.", "REDIS_PASSWORD": "The password of Redis."}


def settings() -> str:
    """The settings, in the groups of `.env`, with their defaults and what is said of them there."""
    parts = []
    for title, rows in _groups():
        parts += [f"## {title}", "", "| Setting | Default | |", "|---|---|---|"]
        parts += [f"| {names} | {defaults} | {text} |" for names, defaults, text in rows]
        parts.append("")
    return "\n".join(parts)


def setting_names() -> list[str]:
    """The names of all settings, in the order of `.env`."""
    return re.findall(r"^([A-Z][A-Z0-9_]*)=", _env(), re.MULTILINE)


def commands() -> str:
    """The make targets, in the groups of the Makefile."""
    parts = []
    for title, rows in command_groups():
        parts += [f"## {title}", "", "| Command | |", "|---|---|"]
        parts += [f"| `make {name}{f' {variables}' if variables else ''}` | {text} |" for name, variables, text in rows]
        parts.append("")
    return "\n".join(parts)


def command_groups() -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Each group's title with its targets: name, variables, what it does."""
    groups: list[tuple[str, list[tuple[str, str, str]]]] = [("First of all", [])]
    for line in (TEMPLATE / "Makefile").read_text(encoding="utf-8").splitlines():
        if line.startswith("##@ "):
            groups.append((line[4:], []))
        elif found := re.match(r"([a-z0-9-]+): ## (.*)", line):
            text, _, variables = found[2].partition("  [")
            variables = f"[{variables}".replace("|", r"\|") if variables else ""
            groups[-1][1].append((found[1], variables, _plain(text)))
    return groups


def metrics() -> str:
    """The metric families that the service tells of, with what is said of them in its source."""
    families = metric_families()
    if not families:
        return "(`GET /metrics` is not part of this version.)"
    rows = [f"| `{name}` | {_plain(text)} |" for name, text in families]
    return "\n".join(["| Metric | |", "|---|---|", *rows])


def metric_families() -> list[tuple[str, str]]:
    """Names and texts, in the order of the source: wherever both stand side by side there."""
    source = TEMPLATE / "denzel" / "metrics" / "families.py"
    if not source.exists():
        return []
    found: dict[str, tuple[int, str]] = {}
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        pair = node.args if isinstance(node, ast.Call) else node.elts if isinstance(node, ast.Tuple) else []
        texts = [item.value for item in pair[:2] if isinstance(item, ast.Constant) and isinstance(item.value, str)]
        if len(texts) == 2 and re.fullmatch(r"denzel_[a-z_]+", texts[0]):
            found.setdefault(texts[0], (pair[0].lineno, texts[1]))
    return sorted(((name, text) for name, (_, text) in found.items()), key=lambda pair: found[pair[0]])


def _env() -> str:
    return (TEMPLATE / ".env").read_text(encoding="utf-8")


def _groups() -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Each group of `.env`; settings that follow one another without a comment share what is said before them."""
    title = ""
    rows: list[tuple[str, str, str]] = []
    comment: list[str] = []
    names: list[tuple[str, str]] = []

    def told() -> list[tuple[str, str, str]]:
        if not names:
            return []
        shown = "<br>".join(f"`{name}`" for name, _ in names)
        defaults = "<br>".join(_default(name, value) for name, value in names)
        return [(shown, defaults, _plain(" ".join(comment)) or _OBVIOUS.get(names[0][0], ""))]

    for line in _env().splitlines():
        if heading := re.match(r"# --- (.*?) -+$", line):
            rows += told()
            if rows:
                yield title, rows
            title, rows, comment, names = heading[1], [], [], []
        elif line.startswith("#"):
            if names:
                rows += told()
                comment, names = [], []
            listed = re.match(r"#   (\S+)  +(.*)", line)
            comment.append(f"<br>{listed[1]}: {listed[2]}" if listed else line.lstrip("# "))
        elif found := re.match(r"([A-Z][A-Z0-9_]*)=(.*)", line):
            names.append((found[1], found[2]))
        elif not line and not names:
            comment = []
    yield title, [*rows, *told()]


def _default(name: str, value: str) -> str:
    if name in _PER_PROJECT:
        return _PER_PROJECT[name]
    return "generated" if value == "__GENERATED__" else f"`{value}`" if value else "empty"


def _plain(text: str) -> str:
    """Text for a cell of a table."""
    return re.sub(r"<(?!br>)", "&lt;", text).replace("|", r"\|").replace("*", r"\*")


TABLES: dict[str, Callable[[], str]] = {"settings": settings, "commands": commands, "metrics": metrics}
