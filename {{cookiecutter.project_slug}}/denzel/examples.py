"""The one reader of the example files: requests with the answer or the error that is expected of them.

`make predict` and `make bench` send them to the running service; pytest-denzel makes a test of each; the service's
own description (/openapi.json) has them. All import this module, so it prints nothing, reads no settings, takes files
and folders of any project, and needs the standard library alone.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = "app/assets/examples"  # of a project; messages name a file by it
TOLERANCE = 1e-6  # relative difference that numbers of an answer may have
KEYS = ("request", "response", "error", "tolerance", "description")

_DEEPEST = 300  # levels of an example; the service's answers have fewer
_LONGEST = 80  # characters of a value in a line of differences
_FORM = '{"request": ..., "response": {...}} or {"request": ..., "error": "the message"}'


class BadExample(Exception):
    """There is no such example, or it is not of the form; the message says which file, and what is wrong."""


@dataclass(frozen=True)
class Example:
    """A request with what it should be answered.

    Attributes:
        name: the file's name without its suffix.
        request: the body of the request, any JSON.
        response: the expected answer; None where an error is expected, or nothing.
        error: the expected error's message; None where an answer is expected, or nothing.
        tolerance: the relative difference that numbers of this answer may have; None where the file has none.
    """

    name: str
    request: Any
    response: dict[str, Any] | None = None
    error: str | None = None
    tolerance: float | None = None


# ---------------------------------------------------------------------------------------------------- files


def is_example(path: Path) -> bool:
    """Whether a file of the folder counts: `NAME.json`, not hidden (an editor's lock, say)."""
    return path.suffix == ".json" and not path.name.startswith(".")


def names(folder: Path) -> list[str]:
    """The names of the examples in a folder, sorted."""
    return sorted(path.stem for path in folder.glob("*.json") if is_example(path))


def find_example(folder: Path, name: str, *, request_alone: bool = False) -> Example:
    """Read the example of this name, with or without its suffix; otherwise as `read_example`.

    Raises:
        BadExample: there is none of this name (the message lists them), or it is not of the form.
    """
    name = name.removesuffix(".json")
    if name not in names(folder):
        raise BadExample(f"There is no example {name!r} in {FOLDER}. {listed(folder)}")
    return read_example(folder / f"{name}.json", request_alone=request_alone)


def listed(folder: Path) -> str:
    """The names of the examples in a sentence, or how one is made."""
    if found := names(folder):
        return f"There are: {', '.join(found)}"
    return f"There is none yet: each is a file NAME.json in {FOLDER}/, {_FORM}."


def read_example(path: Path, *, request_alone: bool = False) -> Example:
    """Read an example file.

    Args:
        path: the file.
        request_alone: whether it may leave open what is expected.

    Raises:
        BadExample: it is not of the form.
    """
    content = _read_object(path)
    name = _shown(path)
    if unknown := [key for key in content if key not in KEYS]:
        keys = f"an unknown key {_quoted(unknown)}" if len(unknown) == 1 else f"unknown keys {_quoted(unknown)}"
        raise BadExample(f'{name} has {keys}; an example may have {_quoted(KEYS)} (for a note: "description").')
    expected = ("response" in content) + ("error" in content)
    if expected == 2 or (expected == 0 and not request_alone):
        raise BadExample(f'{name} needs one of "response" and "error"; it should be {_FORM}.')
    if "response" in content and not isinstance(content["response"], dict):
        raise BadExample(f'{name}: "response" should be an object, as every answer of predict is.')
    if "error" in content and not isinstance(content["error"], str):
        raise BadExample(f'{name}: "error" should be the message, as text.')
    if "tolerance" in content and not _is_tolerance(content["tolerance"]):
        raise BadExample(f'{name}: "tolerance" should be a number, 0 or greater.')
    given = {key: value for key, value in content.items() if key != "description"}
    return Example(path.stem, **given)


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        too_deep = _is_deep(content)
    except RecursionError:
        too_deep = True
    except (OSError, ValueError) as error:
        raise BadExample(f"{_shown(path)} cannot be read as JSON: {error}") from None
    if too_deep:
        raise BadExample(f"{_shown(path)} is nested too deep: an example has at most {_DEEPEST} levels.")
    if not isinstance(content, dict) or "request" not in content:
        raise BadExample(f"{_shown(path)} is not an example; it should be {_FORM}.")
    return content


def _shown(path: Path) -> str:
    return f"{FOLDER}/{path.name}"


def _quoted(keys: list[str] | tuple[str, ...]) -> str:
    return ", ".join(json.dumps(key) for key in keys)


def _is_deep(value: Any) -> bool:
    """Whether a value is nested deeper than can be handled everywhere."""
    level = [value]
    for _ in range(_DEEPEST + 1):
        holders = [item for item in level if isinstance(item, dict | list)]
        if not holders:
            return False
        level = [item for holder in holders for item in (holder.values() if isinstance(holder, dict) else holder)]
    return True


def _is_tolerance(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= sys.float_info.max


# -------------------------------------------------------------------------------------------------- answers


def differences(expected: Any, actual: Any, tolerance: float = TOLERANCE, path: str = "$") -> Iterator[str]:
    """Where two JSON values differ, one line each; numbers may differ by the relative tolerance."""
    if _is_number(expected) and _is_number(actual):
        if not _is_close(expected, actual, tolerance):
            yield f"{path}: expected {expected!r}, got {actual!r} (tolerance {tolerance:g})"
    elif isinstance(expected, dict) and isinstance(actual, dict):
        for key in expected:
            if key not in actual:
                yield f"{path}.{key}: expected {in_short(expected[key])}, but the key is missing"
            else:
                yield from differences(expected[key], actual[key], tolerance, f"{path}.{key}")
        for key in actual:
            if key not in expected:
                yield f"{path}.{key}: not expected, got {in_short(actual[key])}"
    elif isinstance(expected, list) and isinstance(actual, list):
        if len(expected) != len(actual):
            yield f"{path}: expected {len(expected)} items, got {len(actual)}"
        for index, (left, right) in enumerate(zip(expected, actual, strict=False)):
            yield from differences(left, right, tolerance, f"{path}[{index}]")
    elif type(expected) is not type(actual) or expected != actual:
        yield f"{path}: expected {in_short(expected)}, got {in_short(actual)}"


def in_short(value: Any) -> str:
    """A value as JSON, cut after 80 characters."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_close(expected: float, actual: float, tolerance: float) -> bool:
    try:
        return math.isclose(expected, actual, rel_tol=tolerance, abs_tol=1e-12)
    except OverflowError:  # an integer that no float can hold
        return expected == actual
