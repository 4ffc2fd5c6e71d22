"""A large text of JSON, parsed in pieces that take some milliseconds each: other threads have their turns in between.

A parser written in C holds Python's interpreter lock from the first byte to the last, in whatever thread it runs. Here
lists and objects that go beyond a window of the text are walked through in Python. Of their values, as many as lie
within the window are parsed at once, by the same parser as small texts: where they end is guessed, by the brackets
before a comma, and the guess holds if what lies before that comma can be parsed. Where none holds, they are parsed one
by one by the standard library's scanner, which tells where a value ends.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import json.scanner
import math
import re
import threading
from collections.abc import Callable, Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

import orjson

from denzel import jsonio

# Characters of the text that are looked at together. The least that a value takes are two, so this is the most that
# is parsed at once: 32,000 values, in about 10 ms.
_WINDOW = 65_536
# Guesses at where values end, and those that are tried; and how many lists and objects in a row may try in vain until
# a quarter of a window has passed: so of all that is parsed, little is parsed in vain.
_GUESSES, _TRIES, _IN_VAIN = 500, 3, 4
_OPENING, _CLOSING = "[{", "]}"
_SPACE = re.compile(r"[ \t\n\r]*")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def loads(body: bytes | bytearray, most_levels: int) -> Any:
    """The same as `jsonio.loads`.

    Raises:
        ValueError: as `jsonio.loads` does, or what is beyond the window is nested deeper than `most_levels`.
    """
    parse = jsonio.loads if jsonio.may_hold_a_huge_integer(body) else orjson.loads
    with _uncollected:
        value = _Parser(body.decode(), most_levels, parse).parse()
    if _SURROGATE.search(body):
        try:
            orjson.dumps(value)  # a lone one is no Unicode
        except TypeError as error:
            raise ValueError(str(error)) from None
    return value


class _Uncollected:
    """Until its end no garbage is collected: a growing tree would be looked through again and again, and has none."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._was_enabled = False

    def __enter__(self) -> None:
        with self._lock:
            if not self._count:
                self._was_enabled = gc.isenabled()
                gc.disable()
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._count -= 1
            if not self._count and self._was_enabled:
                gc.enable()


_uncollected = _Uncollected()


class _Parser:
    def __init__(self, text: str, most_levels: int, loads: Callable[[bytes], Any]) -> None:
        self._text = text
        self._loads = loads
        self._most_levels = most_levels
        decoder = json.JSONDecoder(parse_int=jsonio.integer_of_64_bits, parse_float=_finite, parse_constant=_refuse)
        self._scan = json.scanner.make_scanner(decoder)  # type: ignore[arg-type]
        self._window, self._begin = text[:_WINDOW], 0
        # A list or object that begins earlier is not tried in one go: the last one went beyond the window. So of all
        # that is scanned, little is scanned in vain.
        self._try_from = 0
        self._guess_from = self._in_vain = 0  # the same for guesses

    def parse(self) -> Any:
        value, end = self._value(self._skip(0), 1)
        if (end := self._skip(end)) != len(self._text):
            raise json.JSONDecodeError("Extra data", self._text, end)
        return value

    def _value(self, at: int, level: int) -> tuple[Any, int]:
        """The value that begins there, and where it ends."""
        first = self._text[at : at + 1]
        is_container = first in ("[", "{")
        if not is_container or at >= self._try_from:
            found = self._value_in_window(at)
            if found:
                return found
            self._try_from = at + _WINDOW // 4
        if is_container:
            if level > self._most_levels:
                raise ValueError("nested too deep")
            return self._list(at + 1, level) if first == "[" else self._object(at + 1, level)
        try:  # a long text, or a mistake
            return self._scan(self._text, at)
        except StopIteration as stop:
            raise json.JSONDecodeError("Expecting value", self._text, stop.value) from None

    def _value_in_window(self, at: int) -> tuple[Any, int] | None:
        """The same, where it lies within the window, which moves on before it is too short."""
        if at - self._begin > _WINDOW // 2:
            self._window, self._begin = self._text[at : at + _WINDOW], at
        try:
            value, end = self._scan(self._window, at - self._begin)
        except (StopIteration, json.JSONDecodeError):
            return None  # there is a mistake in it, or the rest of it lies beyond
        end += self._begin
        # At the end of the window a number may go on.
        return (value, end) if end < self._begin + len(self._window) or end == len(self._text) else None

    def _list(self, at: int, level: int) -> tuple[list[Any], int]:
        values: list[Any] = []
        at = self._skip(at)
        if self._text[at : at + 1] == "]":
            return values, at + 1
        while True:
            if several := self._several(at, "[]"):
                several_values, at = several
                values += several_values
            else:
                value, at = self._value(at, level + 1)
                values.append(value)
            at = self._skip(at)
            if self._ends(at, "]"):
                return values, at + 1
            at = self._skip(at + 1)

    def _object(self, at: int, level: int) -> tuple[dict[str, Any], int]:
        values: dict[str, Any] = {}
        at = self._skip(at)
        if self._text[at : at + 1] == "}":
            return values, at + 1
        while True:
            if several := self._several(at, "{}"):
                several_values, at = several
                values |= several_values
            else:
                key, at = self._key(at)
                values[key], at = self._value(at, level + 1)
            at = self._skip(at)
            if self._ends(at, "}"):
                return values, at + 1
            at = self._skip(at + 1)

    def _key(self, at: int) -> tuple[str, int]:
        """The key that begins there, and where its value does."""
        if self._text[at : at + 1] != '"':
            raise json.JSONDecodeError("Expecting property name enclosed in double quotes", self._text, at)
        key, at = scanstring(self._text, at + 1, True)
        at = self._skip(at)
        if self._text[at : at + 1] != ":":
            raise json.JSONDecodeError("Expecting ':' delimiter", self._text, at)
        return key, self._skip(at + 1)

    def _several(self, at: int, brackets: str) -> tuple[Any, int] | None:
        """The values of a list or object from there on, those within the window, and where they end; None: unknown."""
        if at >= self._guess_from:
            self._in_vain = 0
        elif self._in_vain == _IN_VAIN:
            return None
        begin = brackets[0]
        for tried, end in enumerate(itertools.islice(self._guesses(at), _TRIES)):
            try:
                return self._loads(f"{begin}{self._text[at:end]}{brackets[1]}".encode()), end
            except orjson.JSONDecodeError as error:
                # What follows the list's or object's own end is too much: then that is where they end.
                end = at + error.pos - 2
                if not tried and at < end and self._text[end] == brackets[1]:
                    with contextlib.suppress(ValueError):
                        return self._loads(self._text[at:end].join(brackets).encode()), end
            except UnicodeEncodeError:
                pass
        self._guess_from, self._in_vain = at + _WINDOW // 4, self._in_vain + 1
        return None

    def _guesses(self, at: int) -> Iterator[int]:
        """Where one of the values from there on may end, from the window's end back: at commas outside of brackets."""
        text, end = self._text, min(at + _WINDOW, len(self._text))
        comma = "}," if text.rfind("},", at, end) >= 0 else "]," if text.rfind("],", at, end) >= 0 else ","
        open_ = self._opened(at, end)
        for _ in range(_GUESSES):
            found = text.rfind(comma, at, end) + len(comma) - 1
            if found < at + len(comma):
                return
            open_ -= self._opened(found, end)
            end = found
            if not open_:
                yield end

    def _opened(self, begin: int, end: int) -> int:
        """How many more brackets are opened than closed in between."""
        count = self._text.count
        return sum(count(one, begin, end) for one in _OPENING) - sum(count(one, begin, end) for one in _CLOSING)

    def _ends(self, at: int, closing: str) -> bool:
        """Whether a list or object ends there; else there is a comma."""
        found = self._text[at : at + 1]
        if found not in (closing, ","):
            raise json.JSONDecodeError("Expecting ',' delimiter", self._text, at)
        return found == closing

    def _skip(self, at: int) -> int:
        """Where the space there ends."""
        return _SPACE.match(self._text, at).end()  # type: ignore[union-attr]


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError("a number is too large")
    return value


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not valid JSON")
