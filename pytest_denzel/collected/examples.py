"""The example requests in `app/assets/examples/`, each one a test: a request and the answer or error it gets."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_DEEPEST = 300  # levels of an example; the service's answers have fewer
_FORM = '{"request": ..., "response": {...}} or {"request": ..., "error": "the message"}'


class BadExample(Exception):
    """An example file that cannot be used; the message says what its form should be."""


@dataclass(frozen=True)
class Example:
    """A request with what it should be answered.

    Attributes:
        request: the body of the request.
        response: the expected answer, None when an error is expected.
        error: the expected error's message, None when an answer is expected.
        tolerance: the relative difference that numbers of the answer may have, None where the settings say it.
    """

    request: Any
    response: dict[str, Any] | None
    error: str | None
    tolerance: float | None = None


def read(path: Path) -> Example:
    """Read an example file.

    Raises:
        BadExample: it does not hold an example.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        too_deep = _is_deep(content)
    except RecursionError:
        too_deep = True
    except (OSError, ValueError) as error:
        raise BadExample(f"{path.name} cannot be read as JSON: {error}") from None
    if too_deep:
        raise BadExample(f"{path.name} is nested too deep: an example has at most {_DEEPEST} levels.")
    if not isinstance(content, dict) or "request" not in content:
        raise BadExample(f"{path.name} is not an example; it should be {_FORM}.")
    if unknown := set(content) - {"request", "response", "error", "description", "tolerance"}:
        raise BadExample(f"{path.name} has an unknown key {', '.join(sorted(unknown))}; it should be {_FORM}.")
    if ("response" in content) == ("error" in content):
        raise BadExample(f'{path.name} needs one of "response" and "error"; it should be {_FORM}.')
    if "error" in content and not isinstance(content["error"], str):
        raise BadExample(f'{path.name}: "error" should be the message, as text.')
    if "tolerance" in content and not _is_tolerance(content["tolerance"]):
        raise BadExample(f'{path.name}: "tolerance" should be a number, 0 or greater.')
    return Example(content["request"], content.get("response"), content.get("error"), content.get("tolerance"))


def differences(expected: Any, actual: Any, tolerance: float, path: str = "$") -> Iterator[str]:
    """Where two JSON values differ, one line each; numbers may differ by the relative tolerance."""
    if _is_number(expected) and _is_number(actual):
        if not math.isclose(expected, actual, rel_tol=tolerance, abs_tol=1e-12):
            yield f"{path}: expected {expected!r}, got {actual!r} (tolerance {tolerance:g})"
    elif isinstance(expected, dict) and isinstance(actual, dict):
        for key in expected:
            if key not in actual:
                yield f"{path}.{key}: expected {_short(expected[key])}, but the key is missing"
            else:
                yield from differences(expected[key], actual[key], tolerance, f"{path}.{key}")
        for key in actual:
            if key not in expected:
                yield f"{path}.{key}: not expected, got {_short(actual[key])}"
    elif isinstance(expected, list) and isinstance(actual, list):
        if len(expected) != len(actual):
            yield f"{path}: expected {len(expected)} items, got {len(actual)}"
        for index, (left, right) in enumerate(zip(expected, actual, strict=False)):
            yield from differences(left, right, tolerance, f"{path}[{index}]")
    elif type(expected) is not type(actual) or expected != actual:
        yield f"{path}: expected {_short(expected)}, got {_short(actual)}"


def _is_deep(value: Any) -> bool:
    """Whether a value is nested deeper than can be handled everywhere."""
    level = [value]
    for _ in range(_DEEPEST + 1):
        holders = [item for item in level if isinstance(item, dict | list)]
        if not holders:
            return False
        level = [item for holder in holders for item in (holder.values() if isinstance(holder, dict) else holder)]
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_tolerance(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= sys.float_info.max


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
