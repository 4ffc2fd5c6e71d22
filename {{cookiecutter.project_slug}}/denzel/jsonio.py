"""JSON at the service's borders: strict parsing of requests, and conversion of what user code returns.

Nothing but plain JSON travels: no object hooks, no NaN, no pickle.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from datetime import date, datetime, time
from enum import Enum
from typing import Any
from uuid import UUID

import orjson

_ZERO_FOR_ANY_DIGIT = bytes.maketrans(b"123456789", b"000000000")
_NINETEEN_ZEROS = b"0" * 19
# Where a number may begin; after a quote it is part of a text.
_NUMBER_OF_19_DIGITS = re.compile(rb"(?:^|[\[,:\s-])\d{19}")

# A text of more than _LONG bytes has few values if there are _BYTES_A_VALUE or more for each, as far as a look at
# some _LOOKED_AT bytes tells.
_LONG, _BYTES_A_VALUE, _LOOKED_AT = 20_000, 100, 2_000
# Bytes that are looked through, or written, at once by what holds the interpreter lock and is slow.
_PIECE = 200_000

# Values that need conversion may be nested this deep; the fast way holds 254 levels, orjson's parser 1024.
_DEEPEST = 250
# Of what holds such a value, and is ours.
DEEPER = 300

# Other types than those of JSON are left to us.
_AS_IT_IS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS

_encode = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode


# What to do about values that JSON cannot hold, by the name of their type.
_ADVICE = {
    "DataFrame": 'its to_dict("records") is',
    "coroutine": "define the function with `def`, not with `async def`",
    "NAType": "None is, and becomes null",
}
_MISSING = "None is, and becomes null"


class NotJSON(ValueError):
    """A value that JSON cannot hold; the message starts with its path, such as `$.a123.score`.

    Attributes:
        advice: what to do instead; empty where nothing is known.
    """

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


class TooDeep(NotJSON):
    """A value that is nested deeper than can be handled everywhere."""


def loads(body: bytes | bytearray) -> Any:
    """Parse one JSON document in UTF-8.

    Raises:
        ValueError: not JSON, not UTF-8, NaN, Infinity, or an integer beyond 64 bits.
    """
    value = orjson.loads(body)
    if _perhaps(_may_be_rounded, value) if _is_sparse(body) else may_hold_a_huge_integer(body):
        try:
            json.loads(body, parse_int=integer_of_64_bits)
        except RecursionError:
            raise ValueError("nested too deep") from None
    return value


def loads_dumped(text: bytes) -> Any:
    """Parse what `dumps` wrote: integers may be of any size there."""
    if _is_sparse(text):
        value = orjson.loads(text)
        return json.loads(text) if _perhaps(_may_be_rounded, value) else value
    return json.loads(text) if may_hold_a_huge_integer(text) else orjson.loads(text)


def _is_sparse(text: bytes | bytearray) -> bool:
    """Whether a text is long and its values are few, as with an image in base64.

    Then looking at the values takes far less than searching the text. This is a guess, which costs time where it is
    wrong, and nothing else: counting in the whole text would take longer than parsing it.
    """
    if len(text) <= _LONG:
        return False
    looked_at = text[:: len(text) // _LOOKED_AT | 1]  # an odd number: what is regular has an even one more often
    return looked_at.count(b",") + looked_at.count(b"[") < len(looked_at) // _BYTES_A_VALUE


def _perhaps(holds: Callable[[Any], bool], value: Any) -> bool:
    """Whether something holds for a value, or cannot be told: it is nested too deep."""
    try:
        return holds(value)
    except RecursionError:
        return True


def _may_be_rounded(value: Any) -> bool:
    """Whether orjson may have made a float of an integer beyond 64 bits."""
    if isinstance(value, dict):
        return any(map(_may_be_rounded, value.values()))
    if isinstance(value, list):
        return any(map(_may_be_rounded, value))
    return isinstance(value, float) and abs(value) >= 2.0**63


def _holds_null(value: Any) -> bool:
    """Whether orjson writes null for a value or one inside it; it makes null of NaN."""
    if isinstance(value, dict):
        return any(map(_holds_null, value.values())) or None in value
    if isinstance(value, list | tuple):
        return any(map(_holds_null, value))
    if isinstance(value, Enum):
        return _holds_null(value.value)
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _holds_nan(value: Any) -> bool:
    """Whether a value, or one inside it, is a number that JSON does not have."""
    if isinstance(value, dict):
        return any(map(_holds_nan, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_nan, value))
    if isinstance(value, Enum):
        return _holds_nan(value.value)
    return isinstance(value, float) and not math.isfinite(value)


def may_hold_a_huge_integer(text: bytes | bytearray) -> bool:
    """Whether a number has 19 digits in a row: orjson would turn an integer beyond 64 bits into a float silently.

    The regular expression alone would take longer than the parsing.
    """
    return _NINETEEN_ZEROS in text.translate(_ZERO_FOR_ANY_DIGIT) and any(
        _NUMBER_OF_19_DIGITS.search(text, begin, begin + _PIECE + 20) for begin in range(0, len(text), _PIECE)
    )  # in pieces: other threads get their turns


def integer_of_64_bits(digits: str) -> int:
    """An integer; raises ValueError where it is beyond 64 bits."""
    # The length comes first: converting a number of a million digits would take seconds.
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**64:
        raise ValueError("an integer is beyond 64 bits")
    return int(digits)


def dumps(value: Any, deepest: int = _DEEPEST) -> bytes:
    """Compact UTF-8 JSON of what user code returned.

    NumPy (and pandas, torch) scalars and arrays become numbers and lists, dates and times ISO 8601 text,
    UUIDs text, enumerations their value.

    Args:
        deepest: levels of nesting that are taken in any case; what orjson takes as it is may have 254.

    Raises:
        NotJSON: the value, or one inside it, cannot be JSON; the message names its path.
        TooDeep: it is nested too deep.
    """
    try:
        # The quick way, for what is JSON as it is. It would turn NaN into null: so whatever has a null goes on below.
        fast = orjson.dumps(value, option=_AS_IT_IS)
        if not (_perhaps(_holds_null, value) if _is_sparse(fast) else b"null" in fast):
            return fast
        if len(fast) > _PIECE and not _perhaps(_holds_nan, value):
            return fast
        return _encode(value).encode()
    except (TypeError, ValueError):
        # The slow way: convert what can be, and find the path of what cannot.
        return _encode(_convert(value, "$", (), deepest)).encode()


def _convert(value: Any, path: str, parents: tuple[int, ...], deepest: int) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        raise NotJSON(f"{path}: {_float_name(value)} is not valid JSON", _MISSING)
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise NotJSON(f"{path}: the text holds a lone surrogate, which is not valid Unicode") from None
        return str(value)
    if id(value) in parents:
        raise NotJSON(f"{path}: the value contains itself")
    if len(parents) >= deepest:
        raise TooDeep(f"{path[:60]}...: nested more than {deepest} levels deep")
    inside = (*parents, id(value))
    if isinstance(value, dict):
        converted = {_key(key, path): _convert(item, _join(path, key), inside, deepest) for key, item in value.items()}
        if len(converted) < len(value):
            raise NotJSON(f"{path}: two keys are the same when they are text")
        return converted
    if isinstance(value, list | tuple):
        return [_convert(item, f"{path}[{index}]", inside, deepest) for index, item in enumerate(value)]
    if isinstance(value, datetime | date | time):
        if value != value:  # pandas' missing time is a datetime that equals nothing
            raise NotJSON(f"{path}: NaT (a missing time) is not valid JSON", _MISSING)
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Enum):
        return _convert(value.value, path, inside, deepest)
    if getattr(getattr(value, "dtype", None), "kind", None) in ("M", "m"):  # datetime64, timedelta64
        return _convert_times(value, path, inside, deepest)
    if callable(getattr(value, "tolist", None)):  # NumPy, pandas, torch
        plain = value.tolist()
        if type(plain) is not type(value):
            return _convert(plain, path, inside, deepest)
    raise NotJSON(f"{path}: {type(value).__name__} is not valid JSON", advice_on(value))


def advice_on(value: Any) -> str:
    """What to do with a value that JSON cannot hold, as the end of a sentence; empty where nothing is known."""
    return _ADVICE.get(type(value).__name__, "")


def _convert_times(value: Any, path: str, inside: tuple[int, ...], deepest: int) -> Any:
    """A datetime64 or timedelta64, or an array of them, as texts."""
    missing = value != value
    if getattr(value, "ndim", 0) == 0:
        if missing:
            raise NotJSON(f"{path}: NaT (a missing time) is not valid JSON", _MISSING)
    elif missing.any():  # one by one, for the path
        return _convert(list(value), path, inside, deepest)
    return _convert(value.astype(str).tolist(), path, inside, deepest)


def _key(key: Any, path: str) -> str:
    if isinstance(key, str):
        return str(_convert(key, path, (), _DEEPEST))
    if isinstance(key, bool) or key is None:
        return {True: "true", False: "false", None: "null"}[key]
    if isinstance(key, int):
        return str(int(key))
    plain = _convert(key, path, (), _DEEPEST) if not isinstance(key, tuple) else key
    if isinstance(plain, bool) or plain is None:  # NumPy's, an enumeration's
        return _key(plain, path)
    if isinstance(plain, str | int | float):
        return str(plain)
    raise NotJSON(f"{path}: a key is of type {type(key).__name__}; keys must be text")


def _join(path: str, key: Any) -> str:
    text = str(key)
    return f"{path}.{text}" if re.fullmatch(r"[\w-]{1,80}", text) else f"{path}[{json.dumps(text[:80])}]"


def path_of(keys: Iterable[str | int]) -> str:
    """The path of a value inside another one, by the keys that lead to it: `$.data.a123[0]`."""
    path = "$"
    for key in keys:
        path = f"{path}[{key}]" if isinstance(key, int) else _join(path, key)
    return path


def _float_name(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
