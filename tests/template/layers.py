"""The rules between the rooms of a project and of the plugin, and who breaks them.

What is read are import statements, wherever they stand, and texts that name a module (`-m denzel.worker.process`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

OURS = ("app", "commands", "denzel", "pytest_denzel")

# What each package of denzel/ may import of denzel/, besides the modules at the top level.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "api": ("denzel.pipeline", "denzel.openapi", "denzel.server.board", "denzel.server.windows", "denzel.metrics"),
    "openapi": ("denzel.pipeline",),
    "server": ("denzel.metrics",),
    "pipeline": (),
    "direct": ("denzel.metrics",),
    "queue": ("denzel.direct", "denzel.metrics"),
    "inline": ("denzel.pipeline", "denzel.callbacks.bounds", "denzel.callbacks.sender", "denzel.metrics"),
    "worker": ("denzel.pipeline", "denzel.queue", "denzel.direct", "denzel.metrics"),
    "callbacks": ("denzel.queue", "denzel.metrics"),
    "metrics": (),
    "monitor": ("denzel.queue",),
    "training": ("denzel.pipeline",),
    "log": (),
    "tracing": (),
}
# What every package may import.
FOR_ALL = ("denzel.log", "denzel.tracing")
# The modules at the top level that import packages, and which; nobody imports these modules.
ENDS = {"denzel.control": ("denzel.queue", "denzel.pipeline"), "denzel.testing": ("denzel", "commands")}
# What the commands, which run before anything is installed, may import.
STANDARD_LIBRARY_ALONE = (
    "denzel.settings",
    "denzel.setting_values",
    "denzel.assets",
    "denzel.edits",
    "denzel.examples",
    "denzel.requirements",
    "denzel.callback_addresses",
    "denzel.signing",
    "denzel.listening",
    "denzel.api_keys",
)
FACTORY = "denzel.api.application"
EXECUTORS = ("denzel.inline.executor", "denzel.queue.executor", "denzel.inline.figures", "denzel.queue.totals")
LOADER = "denzel.pipeline.loading"
DOOR = "denzel.testing"
# What of commands/ is no command; `shadowing` stands above the others because it must run before they are imported.
NO_COMMANDS = ("commands.shared", "commands.shadowing")
QUEUE_PACKAGES = ("redis", "hiredis", "celery", "kombu")


@dataclass(frozen=True)
class Import:
    """`importer` imports `imported`: module names with dots; `at_once` when it does so as it is imported itself."""

    importer: str
    imported: str
    at_once: bool


def imports(*roots: Path) -> list[Import]:
    """All imports of the modules of ours in these folders: of modules of ours the modules, of others the packages."""
    modules = {name: path for root in roots for name, path in _modules(root)}
    names = frozenset(modules)
    return [one for name, path in modules.items() for one in _imports(name, path.read_text(encoding="utf-8"), names)]


def broken_rules(found: list[Import]) -> list[str]:
    """For each import that breaks a rule one line: `importer imports imported: the rule`."""
    lines = [f"{one.importer} imports {one.imported}: {rule}" for one in found for rule in _broken_by(one)]
    return lines + [f"{' imports '.join(circle)}: no imports go in a circle." for circle in circles(found)]


def _broken_by(one: Import) -> Iterator[str]:
    importer, imported = one.importer, one.imported
    if _is_in(importer, "app") and _is_in(imported, "denzel", "commands"):
        yield "app/ is the user's: it imports nothing of the framework."
    if _is_in(importer, "denzel", "commands") and _is_in(imported, "app") and importer != LOADER:
        yield f"of the framework only {LOADER} imports app."
    if _is_in(importer, "pytest_denzel") and _is_in(imported, *OURS[:-1]) and imported != DOOR:
        yield f"the plugin imports of a project only {DOOR}, and starts nothing else of it by name."
    if _is_in(importer, "commands") and _is_in(imported, "denzel") and imported not in STANDARD_LIBRARY_ALONE:
        yield "commands/ import of denzel/ only what needs the standard library alone."
    if _is_in(importer, "commands.shared") and _is_in(imported, "commands") and not _is_in(imported, *NO_COMMANDS):
        yield "commands/shared/ never imports a command."
    if _is_in(importer, "denzel"):
        yield from _broken_in_denzel(importer, imported)


def _broken_in_denzel(importer: str, imported: str) -> Iterator[str]:
    if _is_in(imported, "commands") and importer != DOOR:
        yield f"of the framework only {DOOR} imports commands/, on the host."
    package = importer.split(".")[1] if importer.count(".") else ""
    other = imported.split(".")[1] if imported.count(".") else ""
    if package == "inline" and imported in QUEUE_PACKAGES:
        yield "inline/ knows nothing of Redis or Celery."
    if not _is_in(imported, "denzel") or imported == "denzel":
        return
    if imported in ENDS:
        yield "control and testing are ends: nobody imports them."
    if importer in ENDS:
        if other in MAY_IMPORT and not _is_in(imported, *ENDS[importer]):
            yield f"{importer} imports only {', '.join(ENDS[importer])}."
    elif package not in MAY_IMPORT:
        if other in MAY_IMPORT:
            yield "the top level of denzel/ imports none of its packages."
    elif other in MAY_IMPORT and other != package and not _is_in(imported, *MAY_IMPORT[package], *FOR_ALL):
        if importer == FACTORY and imported in EXECUTORS:
            return
        allowed = ", ".join(MAY_IMPORT[package]) or "none of the other packages"
        yield f"{package}/ imports of the packages only: {allowed}" + (
            f"; the executors are known to {FACTORY} alone." if package == "api" else "."
        )


def circles(found: list[Import]) -> list[list[str]]:
    """Chains of modules that import each other as they are imported, the first one again at the end."""
    graph: dict[str, set[str]] = {}
    for one in found:
        if one.at_once and _is_in(one.imported, *OURS):
            graph.setdefault(one.importer, set()).add(one.imported)
    done: set[str] = set()
    chains: list[list[str]] = []

    def follow(name: str, path: list[str]) -> None:
        if name in path:
            chains.append([*path[path.index(name) :], name])
        elif name not in done:
            for other in sorted(graph.get(name, ())):
                follow(other, [*path, name])
            done.add(name)

    for name in sorted(graph):
        follow(name, [])
    return chains


def _is_in(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _modules(root: Path) -> Iterator[tuple[str, Path]]:
    for package in OURS:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


@cache
def _imports(name: str, text: str, modules: frozenset[str]) -> list[Import]:
    tree = ast.parse(text)
    found: list[Import] = []
    later = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _is_for_types(node)
        for inner in ast.walk(node)
    }
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        at_once = id(node) not in later
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: imports are absolute here"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [each if each in modules else node.module or "" for each in names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            names, at_once = _named_in(node.value, name), False
        else:
            continue
        for each in dict.fromkeys(names):
            if each != name:
                found.append(Import(name, each if each.split(".")[0] in OURS else each.split(".")[0], at_once))
    return found


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _named_in(text: str, importer: str) -> list[str]:
    """The module that a text names, if that is all it does (`python:denzel.x`), where naming is as good as importing.

    The user's pipeline can be imported by a text; the plugin starts processes by theirs, as `python -m` does.
    """
    found = re.fullmatch(r"(?:python:)?((app|commands|denzel)(?:\.[a-z_]+)+)(?::\w+(?:\(\))?)?", text)
    return [found[1]] if found and (found[2] == "app" or _is_in(importer, "pytest_denzel")) else []
