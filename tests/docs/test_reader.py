"""How the pages' reader compares: what it must take for the same, and what it must not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.reader import Reader, last_document, matches, shown
from tests.support.markdown import Block


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("a\nc", "a\nb\nc\n", True),
        ("c\na", "a\nb\nc\n", False),
        ("a ... c", "x a b c y", True),
        ("...\nLocation: /status/...", "HTTP/1.1 200 OK\r\nlocation: /status/1\r\n", True),
        ("2 passed", "1 passed", False),
    ],
)
def test_lines_are_found_in_their_order(expected: str, printed: str, same: bool) -> None:
    assert shown(expected, printed) is same


@pytest.mark.parametrize(
    ("expected", "found", "same"),
    [
        ({"a": "..."}, {"a": [1]}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": 1, "...": "..."}, {"a": 1, "b": 2}, True),
        ({"a": 1, "...": "..."}, {"b": 2}, False),
        ({"d": "...ALLOW..."}, {"d": "add it to CALLBACK_ALLOW in .env"}, True),
        ([1, 2], [1], False),
        ({"a": True}, {"a": "..."}, False),
    ],
)
def test_documents_are_compared_key_by_key(expected: object, found: object, same: bool) -> None:
    assert matches(expected, found) is same


def test_the_last_document_counts() -> None:
    assert last_document('{"a": 1}\nsome text\n{\n  "b": [2]\n}\nAs the example expects.\n') == {"b": [2]}
    with pytest.raises(AssertionError, match="no JSON in"):
        last_document("nothing")


def test_a_command_that_fails_fails_the_page(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    with pytest.raises(AssertionError, match="no such"):
        reader.follow(Block("bash", {"run": "above"}, "echo no such; exit 3\n"))
    reader.follow(Block("bash", {"run": "above", "fails": "yes"}, "echo expected; exit 3\n"))
    reader.follow(Block("text", {"shows": "last"}, "expected\n"))
    with pytest.raises(AssertionError, match="other"):
        reader.follow(Block("text", {"shows": "last"}, "other\n"))


def test_settings_take_the_place_of_those_with_the_same_name(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\nCALLBACK_ALLOW=\nB=2\n")
    reader = Reader(tmp_path, project=tmp_path)
    reader.follow(Block("bash", {"env": "set"}, "CALLBACK_ALLOW=127.0.0.1\nNEW=x\n"))
    assert (tmp_path / ".env").read_text() == "A=1\nCALLBACK_ALLOW=127.0.0.1\nB=2\nNEW=x\n"
