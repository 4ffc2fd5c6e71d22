"""The reader of example files, which `make predict`, `make bench` and the pytest plugin share."""

from __future__ import annotations

from pathlib import Path

import pytest

from denzel import examples
from denzel.examples import BadExample, Example, differences, find_example, names, read_example

ALONE = '{"request": 1}'


def test_an_example_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_text('{"request": null, "response": {}, "tolerance": 0, "description": ["see", "there"]}')
    assert read_example(path) == Example("one", None, response={}, tolerance=0)
    path.write_text('{"request": [], "error": ""}')
    assert read_example(path) == Example("one", [], error="")


def test_a_request_alone_is_an_example_for_those_who_say_so(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_text(ALONE)
    assert (
        read_example(path, request_alone=True) == find_example(tmp_path, "one", request_alone=True) == Example("one", 1)
    )
    with pytest.raises(BadExample, match='needs one of "response" and "error"'):
        read_example(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", " cannot be read as JSON: Expecting property name"),
        (b'"\xff"', " cannot be read as JSON: 'utf-8' codec can't decode"),
        (b"[]", ' is not an example; it should be {"request": ..., "response": {...}} or {"request": ..., "error": '),
        (b'{"response": {}}', " is not an example; it should be "),
        (b'{"request": 1, "response": {}, "error": ""}', ' needs one of "response" and "error"; it should be '),
        (b'{"request": 1, "answer": {}}', ' has an unknown key "answer"; an example may have "request", "response", '),
        (b'{"request": 1, "b": 1, "a": 2}', ' has unknown keys "b", "a"; an example may have "request", '),
        (b'{"request": 1, "response": null}', ': "response" should be an object, as every answer of predict is.'),
        (b'{"request": 1, "error": 400}', ': "error" should be the message, as text.'),
        (b'{"request": 1, "error": null}', ': "error" should be the message, as text.'),
        (b'{"request": 1, "error": "", "tolerance": "1%"}', ': "tolerance" should be a number, 0 or greater.'),
    ],
    ids=str,
)
def test_what_is_no_example_is_told_with_its_file(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "wrong.json"
    path.write_bytes(content)
    with pytest.raises(BadExample) as raised:
        read_example(path, request_alone=True)
    assert str(raised.value).startswith(f"app/assets/examples/wrong.json{message}")


def test_a_folder_has_the_examples_that_are_not_hidden(tmp_path: Path) -> None:
    for name in ("two.json", "one.json", "._one.json", ".json", "notes.txt"):
        (tmp_path / name).write_text(ALONE)
    assert names(tmp_path) == ["one", "two"]
    assert examples.listed(tmp_path) == "There are: one, two"
    assert find_example(tmp_path, "one.json", request_alone=True).name == "one"
    with pytest.raises(BadExample, match=r"^There is no example '\.\./one' in .*\. There are: one, two$"):
        find_example(tmp_path, "../one")


def test_without_a_folder_there_is_said_how_an_example_is_made(tmp_path: Path) -> None:
    assert names(tmp_path / "none") == []
    assert examples.listed(tmp_path / "none").startswith("There is none yet: each is a file NAME.json in app/assets/")


@pytest.mark.parametrize(
    ("expected", "actual", "lines"),
    [
        ({"a": 1}, {"a": 1.0000001}, []),
        ({"a": 1}, {"a": True}, ["$.a: expected 1, got true"]),
        (
            {"a": 1, "b": 2},
            {"a": 1.1, "c": 3},
            [
                "$.a: expected 1, got 1.1 (tolerance 1e-06)",
                "$.b: expected 2, but the key is missing",
                "$.c: not expected, got 3",
            ],
        ),
        ([1, 2], [3], ["$: expected 2 items, got 1", "$[0]: expected 1, got 3 (tolerance 1e-06)"]),
        (10**400, 10**400, []),
        (10**309, 1.5, [f"$: expected {10**309}, got 1.5 (tolerance 1e-06)"]),
        ("x" * 100, None, [f'$: expected "{"x" * 76}..., got null']),
    ],
    ids=range(7),
)
def test_differences_are_told_by_their_paths(expected: object, actual: object, lines: list[str]) -> None:
    assert list(differences(expected, actual)) == lines
