"""Who may import whom: the house has rooms, and rules between them (docs/architecture.md)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.bakery import REPOSITORY, TEMPLATE
from tests.template import layers

# Imports that each break a rule: where they are written, what they import, and how the rule begins.
BROKEN = [
    ("app/logic/pipeline.py", "from denzel import jsonio", "denzel.jsonio", "app/ is the user's"),
    ("denzel/worker/loop.py", "import app.logic", "app.logic", "of the framework only"),
    ("denzel/pipeline/stages.py", "X = 'app.logic.pipeline'", "app.logic.pipeline", "of the framework only"),
    (
        "denzel/api/predict.py",
        "from denzel.queue import store",
        "denzel.queue.store",
        "api/ imports of",
    ),
    (
        "denzel/api/application.py",
        "import denzel.queue.store",
        "denzel.queue.store",
        "api/ imports of",
    ),
    (
        "denzel/callbacks/courier.py",
        "import denzel.worker.log",
        "denzel.worker.log",
        "callbacks/ imports of",
    ),
    ("denzel/worker/loop.py", "import denzel.callbacks", "denzel.callbacks", "worker/ imports of"),
    (
        "denzel/worker/loop.py",
        "import denzel.api.answers",
        "denzel.api.answers",
        "worker/ imports of",
    ),
    (
        "denzel/queue/keys.py",
        "from denzel.server import board",
        "denzel.server.board",
        "queue/ imports of",
    ),
    ("denzel/inline/records.py", "import redis.asyncio", "redis", "inline/ knows nothing of"),
    ("denzel/jsonio.py", "import denzel.queue.keys", "denzel.queue.keys", "the top level of denzel/"),
    ("denzel/settings.py", "import commands.doctor", "commands.doctor", "of the framework only"),
    ("denzel/server/board.py", "import denzel.control", "denzel.control", "control and testing are ends"),
    (
        "denzel/control.py",
        "import denzel.worker.loop",
        "denzel.worker.loop",
        "denzel.control imports only",
    ),
    ("commands/doctor.py", "import denzel.jsonio", "denzel.jsonio", "commands/ import of denzel/ only"),
    ("commands/shared/env.py", "import commands.doctor", "commands.doctor", "commands/shared/ never"),
    ("pytest_denzel/header.py", "import denzel.jsonio", "denzel.jsonio", "the plugin imports of"),
    ("pytest_denzel/header.py", "X = 'denzel.control'", "denzel.control", "the plugin imports of"),
    ("pytest_denzel/header.py", "import commands.doctor", "commands.doctor", "the plugin imports of"),
]
CIRCLE = "denzel.jsonio imports denzel.record imports denzel.jsonio: no imports go in a circle."


def test_every_import_keeps_the_rules() -> None:
    found = layers.imports(TEMPLATE, REPOSITORY)
    assert len({one.importer for one in found}) > 100, "the modules were not found"
    assert layers.broken_rules(found) == []


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("house")
    for name in ("app", "commands", "denzel"):
        shutil.copytree(TEMPLATE / name, folder / name)
    shutil.copytree(REPOSITORY / "pytest_denzel", folder / "pytest_denzel")
    return folder


@pytest.mark.parametrize(("file", "line", "imported", "rule"), BROKEN, ids=[f"{row[0]}: {row[1]}" for row in BROKEN])
def test_a_broken_rule_is_named_with_both_modules(copy: Path, file: str, line: str, imported: str, rule: str) -> None:
    path = copy / file
    before = path.read_text(encoding="utf-8")
    path.write_text(f"{before}\n\ndef _broken():\n    {line}\n", encoding="utf-8")
    try:
        broken = layers.broken_rules(layers.imports(copy))
    finally:
        path.write_text(before, encoding="utf-8")
    importer = file.removesuffix(".py").replace("/", ".")
    assert [one for one in broken if one.startswith(f"{importer} imports {imported}: {rule}")], "\n".join(broken)


def test_a_circle_is_named_with_all_its_modules(copy: Path) -> None:
    for name, other in (("jsonio", "record"), ("record", "jsonio")):
        path = copy / f"denzel/{name}.py"
        path.write_text(path.read_text(encoding="utf-8") + f"\nimport denzel.{other}\n", encoding="utf-8")
    assert layers.broken_rules(layers.imports(copy)) == [CIRCLE]


def test_importing_the_api_needs_neither_redis_nor_celery() -> None:
    """With EXECUTOR=inline nothing of the queue is used, so it need not be there."""
    found = layers.imports(TEMPLATE)
    needed, left = set(), ["denzel.api.application", "denzel.inline.executor"]
    while left:
        name = left.pop()
        needed.add(name)
        left += [one.imported for one in found if one.importer == name and one.at_once and one.imported not in needed]
    assert needed & {"falcon", "denzel.callbacks.sender"}, "imports were not followed"
    assert needed.isdisjoint(layers.QUEUE_PACKAGES)
