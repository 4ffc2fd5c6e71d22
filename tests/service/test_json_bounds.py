"""Bounds on JSON: how many values, how many levels."""

from __future__ import annotations

import json

import pytest

from denzel import json_bounds


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (b"1", 1), (b"[1,2,3]", 4), (b'{"a":1,"b":[2]}', 4), (b'[",,,[[{{"]', 2), (b'["\\",\\",","\\\\",1]', 4),
        (b'["', 2), (b'["\\\\",",",[]]', 5),
    ],
)  # fmt: skip
def test_values_outside_texts_are_counted(text: bytes, count: int) -> None:
    assert json_bounds.values(text, 0) == min(count, 1) if count == 1 else json_bounds.values(text, 1) >= 2
    assert json_bounds._values_outside_texts(text, 1000) == count


@pytest.mark.parametrize("levels", [1, 12, 13, 249, 250, 251, 300])
@pytest.mark.parametrize(("begin", "inner", "end"), [(b"[", b"0", b"]"), (b"[", b"", b"]"), (b'{"a":', b"0", b"}")])
def test_levels_are_found(levels: int, begin: bytes, inner: bytes, end: bytes) -> None:
    text = begin * levels + inner + end * levels
    assert json_bounds.is_deep(json.loads(text)) == (levels > json_bounds.MOST_LEVELS)
    assert json_bounds.may_be_deep(text) or levels <= json_bounds.MOST_LEVELS


def test_what_is_wide_is_not_deep() -> None:
    assert not json_bounds.may_be_deep(b"[" + b"[[1],[2]]," * 1000 + b"{}]")


@pytest.mark.parametrize(
    "value", [[1, 1.5, "text", None, True, {"a": [{}]}], {"ü\n": "\U0001f600"}, [2**64 - 1, -(2**63)]]
)
def test_both_parsers_agree(value: object) -> None:
    text = json.dumps(value).encode()
    assert json_bounds.loads(text, json_bounds.MOST_AT_ONCE + 1) == json_bounds.loads(text, 1) == value


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 1000])
def test_bytes_are_counted(count: int) -> None:
    assert json_bounds._count(b"x," * count + b"x" * 1000, b",") == count
