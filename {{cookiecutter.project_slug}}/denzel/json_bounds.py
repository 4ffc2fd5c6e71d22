"""Bounds on JSON that clients send: how many values it has and how deep they lie, before or while it is parsed.

A parser written in C holds Python's interpreter lock from the first byte to the last, in whatever thread it runs. So
texts of many values are parsed in pieces (`json_pieces`), which lets the event loop have its turns.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from denzel import json_pieces, jsonio

# Levels of lists and objects that a request may have.
MOST_LEVELS = 250
# Values that the quick parser gets at once; it takes up to 0.7 microseconds for each.
MOST_AT_ONCE = 100_000

_LISTS_ALONE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
# Levels that are looked for in the text; what has more is looked at as a tree.
_FEW = 12
# Bytes that are looked for one by one, before the rest is counted.
_FEW_BYTES = 64


def values(body: bytes | bytearray, most: int) -> int:
    """How many values a text of JSON has, at the most; exact where these are many. Too many are more than `most`."""
    count = 1 + _count(body, b",") + _count(body, b"[") + _count(body, b"{")
    return count if count <= min(most, MOST_AT_ONCE) else _values_outside_texts(body, most)


def _count(body: bytes | bytearray, byte: bytes) -> int:
    """How often a byte comes. Where there are few in a long text, looking for them takes a tenth of counting."""
    at = -1
    for found in range(_FEW_BYTES):
        at = body.find(byte, at + 1)
        if at < 0:
            return found
    return _FEW_BYTES + body.count(byte, at + 1)


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
    if _count(body, b"[") + _count(body, b"{") <= MOST_LEVELS:
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
    try:
        value = jsonio.loads(body) if count <= MOST_AT_ONCE else json_pieces.loads(body, MOST_LEVELS)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if may_be_deep(body) and is_deep(value):
        raise ValueError("nested too deep")
    return value
