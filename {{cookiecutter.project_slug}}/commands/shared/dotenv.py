"""The syntax of ``.env`` as Docker Compose reads it (compose-spec/compose-go, package dotenv)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

_NAME = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*[=:][ \t]*")
# "$$", "$NAME", "${NAME}", "${NAME:-default}" and their like
_REFERENCE = re.compile(r"\$(?:(\$)|(\w+)|\{([A-Za-z_]\w*)(?:(:?[-+?])([^{}]*))?\}|(\{))", re.ASCII)
_ESCAPE = re.compile(r'\\([abcfnrtv$"\\])')
_ESCAPED = {"a": "\a", "b": "\b", "c": "\\c", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "$": "$$"}


class Malformed(ValueError):
    """A line that Compose refuses.

    Attributes:
        line: its number, from 1.
    """

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


def parse(text: str, shell: Mapping[str, str]) -> dict[str, str]:
    """The values by name; what is no assignment is passed over.

    Args:
        shell: where names behind a ``$`` are looked up that the text itself does not set.

    Raises:
        Malformed: the first line that Compose refuses.
    """
    values: dict[str, str] = {}
    for number, name, value, literal in _assignments(text):
        values[name] = value if literal else _expand(value, {**shell, **values}, number)
    return values


def _assignments(text: str) -> Iterator[tuple[int, str, str, bool]]:
    """Number, name, value without its quotes or comment, and whether a ``$`` in it is nothing but that."""
    position = 0
    while position < len(text):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        number = text.count("\n", 0, position) + 1
        match = _NAME.match(text, position, end)
        if not match:
            position = end + 1
            continue
        start = match.end()
        quote = text[start : start + 1]
        if quote in ("'", '"'):
            closing = _closing(text, start)
            if closing < 0:
                raise Malformed(number, f"the quote after {match[1]}= is never closed")
            value = text[start + 1 : closing]
            if quote == "'":
                yield number, match[1], value.replace("\\'", "'"), True
            else:
                yield number, match[1], _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), value), False
            end = text.find("\n", closing)
            position = len(text) if end < 0 else end + 1
        else:
            yield number, match[1], text[start:end].partition(" #")[0].rstrip(), False
            position = end + 1


def _closing(text: str, start: int) -> int:
    """Where the quote that begins at `start` ends, -1 where it never does."""
    closing = text.find(text[start], start + 1)
    while closing > 0 and text[closing - 1] == "\\":
        closing = text.find(text[start], closing + 1)
    return closing


def _expand(value: str, known: Mapping[str, str], number: int) -> str:
    """Put in the values of the variables that a value names by ``$``."""

    def replace(match: re.Match[str]) -> str:
        dollar, plain, braced, operator, word, unclosed = match.groups()
        if dollar:
            return "$"
        if plain:
            return known.get(plain, "") if not plain[0].isdigit() else match[0]
        if unclosed:
            raise Malformed(number, 'what follows "${" is no name (a "$" itself is written "$$", or in single quotes)')
        found = known.get(braced)
        given = bool(found) if operator and operator[0] == ":" else found is not None
        kind = operator[-1] if operator else ""
        if kind == "?" and not given:
            raise Malformed(number, f"{braced} is not set{f': {word}' if word else ''}")
        if kind == "+":
            return _expand(word, known, number) if given else ""
        return _expand(word, known, number) if kind == "-" and not given else found or ""

    return _REFERENCE.sub(replace, value)
