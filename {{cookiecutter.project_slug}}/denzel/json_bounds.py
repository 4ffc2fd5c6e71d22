"""Bounds on JSON that clients send: how many values it has and how deep they lie, before or while it is parsed.

A parser written in C holds Python's interpreter lock from the first byte to the last, in whatever thread it runs. So
texts of many values are parsed by one written in Python, which lets the event loop have its turns.
"""

from __future__ import annotations

import json
import json.scanner
import math
from collections.abc import Iterable
from typing import Any

from denzel import jsonio

# Levels of lists and objects that a request may have.
MOST_LEVELS = 250
# Values that the quick parser gets at once; it takes up to 0.7 microseconds for each.
MOST_AT_ONCE = 50_000

_LISTS_ALONE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
# Levels that are looked for in the text; what has more is looked at as a tree.
_FEW = 12


def values(body: bytes | bytearray, most: int) -> int:
    """How many values a text of JSON has, at the most; exact where these are many. Too many are more than `most`."""
    count = 1 + body.count(b",") + body.count(b"[") + body.count(b"{")
    return count if count <= min(most, MOST_AT_ONCE) else _values_outside_texts(body, most)


def _values_outside_texts(body: bytes | bytearray, most: int) -> int:
    """The same, without what looks so in texts; counting ends when there are too many."""
    body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    count, begin = 1, 0
    while count <= most:
        quote = body.find(b'"', begin)
        end = len(body) if quote < 0 else quote
        count += body.count(b",", begin, end) + body.count(b"[", begin, end) + body.count(b"{", begin, end)
        begin = 0 if quote < 0 else body.find(b'"', quote + 1) + 1
        if not begin:
            break
    return count


def may_be_deep(body: bytes | bytearray) -> bool:
    """Whether a text may have more levels than MOST_LEVELS; false for all that have a few."""
    if body.count(b"[") + body.count(b"{") <= MOST_LEVELS:
        return False
    left = body.translate(_LISTS_ALONE, _NO_BRACKETS)
    for _ in range(_FEW):
        left = left.replace(b"[]", b"")  # one level less
    return bool(left)


def is_deep(value: Any) -> bool:
    """Whether a parsed value has more levels than MOST_LEVELS."""
    level = [value]
    for _ in range(MOST_LEVELS):
        level = [inner for outer in level if isinstance(outer, dict | list) for inner in _inside(outer)]
        if not level:
            return False
    return any(isinstance(one, dict | list) for one in level)


def _inside(outer: dict | list) -> Iterable[Any]:
    return outer.values() if isinstance(outer, dict) else outer


def loads(body: bytes | bytearray, count: int) -> Any:
    """The same as `jsonio.loads`, for a text of at most so many values, and within MOST_LEVELS.

    Raises:
        ValueError: as `jsonio.loads` does, or it is nested too deep.
    """
    value = jsonio.loads(body) if count <= MOST_AT_ONCE else _loads_in_turns(body)
    if may_be_deep(body) and is_deep(value):
        raise ValueError("nested too deep")
    return value


def _loads_in_turns(body: bytes | bytearray) -> Any:
    """By the parser written in Python, which takes some ten times as long; other threads have their turns meanwhile."""
    decoder = json.JSONDecoder(
        parse_int=jsonio.integer_of_64_bits,
        parse_float=_finite,
        parse_constant=_refuse,
        object_pairs_hook=_checked if b"\\u" in body else None,
    )
    decoder.parse_string = _text  # type: ignore[attr-defined]
    decoder.scan_once = json.scanner.py_make_scanner(decoder)  # type: ignore[attr-defined]
    try:
        return decoder.decode(body.decode())
    except RecursionError:
        raise ValueError("nested too deep") from None


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError("a number is too large")
    return value


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not valid JSON")


def _text(text: str, begin: int, strict: bool) -> tuple[str, int]:
    value, end = json.decoder.scanstring(text, begin, strict)  # type: ignore[attr-defined]
    if not value.isascii():
        value.encode()  # a lone surrogate is no Unicode
    return value, end


def _checked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    for key, _ in pairs:
        key.encode()
    return dict(pairs)
