"""What a project says of itself: its title and text, its examples, the schemas that it declares."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from denzel import card, examples, jsonio
from denzel.examples import BadExample, Example
from denzel.pipeline import declared
from denzel.pipeline.declared import Declared
from denzel.pipeline.errors import PipelineError

log = logging.getLogger("denzel.api")

ROOT = Path(__file__).resolve().parents[2]
INFO = "app/assets/info.txt"

MOST_BYTES = 262_144  # of an example file; larger ones are left out: a browser would be slow with them
MOST_EXAMPLES = 100

_LONGEST_TITLE = 100  # characters


@dataclass(frozen=True)
class Project:
    """What is known of a project.

    Attributes:
        title: the first line of its text, or its name.
        text: app/assets/info.txt.
        version: the model's, empty where it has none.
        examples: those that expect an answer first.
        declared: the schemas that it declares.
    """

    title: str
    text: str = ""
    version: str = ""
    examples: tuple[Example, ...] = ()
    declared: Declared = field(default_factory=Declared)


def read(name: str, module: ModuleType | None, root: Path = ROOT) -> Project:
    """Read what a project says of itself; what cannot be read is left out, and logged.

    Args:
        name: its title where its text has none.
        module: the user's; None where it cannot be imported.
    """
    title, text = words(name, root)
    try:
        schemas = declared.of(module) if module else Declared()
    except PipelineError as error:
        log.warning("%s", error)
        schemas = Declared()
    found = _examples(root / examples.FOLDER)
    return Project(
        title=title,
        text=text,
        version=card.version(),
        examples=tuple(sorted(found, key=lambda one: one.response is None)),
        declared=schemas,
    )


def words(name: str, root: Path = ROOT) -> tuple[str, str]:
    """The title and the text of a project alone; neither its code nor its examples are looked at.

    Args:
        name: its title where its text has none.
    """
    try:
        text = (root / INFO).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        text = ""
    title = next(iter(text.splitlines()), "").strip()
    return title[:_LONGEST_TITLE] or name, text


def state(root: Path = ROOT) -> tuple[object, ...]:
    """What changes when a file changes that a project is read from."""
    paths = [root / INFO, root / declared.FILE, root / card.CARD, *sorted((root / examples.FOLDER).glob("*.json"))]
    return tuple((str(path), found.st_mtime_ns, found.st_size) for path in paths if (found := _stat(path)))


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _examples(folder: Path) -> list[Example]:
    found = []
    names = examples.names(folder)
    for name in names[:MOST_EXAMPLES]:
        path = folder / f"{name}.json"
        try:
            if path.stat().st_size > MOST_BYTES:
                log.info("The example %s is left out of /docs: it has more than %d bytes", name, MOST_BYTES)
            else:
                example = examples.read_example(path, request_alone=True)
                jsonio.dumps([example.request, example.response])  # Python reads NaN, too
                found.append(example)
        except (BadExample, OSError, jsonio.NotJSON) as error:
            log.warning("The example %s is left out of /docs: %s", name, error)
    if len(names) > MOST_EXAMPLES:
        log.info("/docs has the first %d of %d examples", MOST_EXAMPLES, len(names))
    return found
