"""Read the code blocks of a Markdown file: "```bash run=bake" is a block of bash with the attribute run=bake."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^```(\w*)[ ]?([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced code block: its language, its attributes and its text."""

    language: str
    attributes: dict[str, str]
    text: str


def blocks(path: Path) -> list[Block]:
    """Return every fenced code block of a file, in order."""
    found = []
    for language, attributes, text in FENCE.findall(path.read_text(encoding="utf-8")):
        found.append(Block(language, dict(word.split("=", 1) for word in attributes.split()), text))
    return found
