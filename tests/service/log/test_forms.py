"""Lines of the log: as text and as JSON, whatever a message is made of."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from denzel.log import about
from denzel.log.forms import JsonForm, TextForm, is_json_line, message_of, printable
from denzel.log.output import Output, adopt

FORGED = "x\n2026-01-01 00:00:00,000 ERROR denzel.api: forged\x1b[2J\u2028"
TURNED = "\u202e\u2066\u200f\u061c\ud800"
FORGED_LINE = '{"time": "2026-01-01", "level": "error", "logger": "denzel.api", "task_id": "other", "message": "x"}'


@pytest.fixture(autouse=True)
def _nothing_is_meant() -> Iterator[None]:
    yield
    about.PROCESS.about = about.THREAD.about = ()


def record(message: str, *arguments: Any, **more: Any) -> logging.LogRecord:
    made = logging.LogRecord("denzel.api", logging.WARNING, __file__, 1, message, arguments, None)
    made.__dict__.update(more)
    return made


def test_what_clients_send_cannot_begin_a_line() -> None:
    for one in (record("Refused: %s", FORGED), record("Refused: %s\n%s", FORGED, "a trace")):
        lines = TextForm().format(one).split("\n")
        assert all(line.startswith("  ") for line in lines[1:])
        assert r"\n2026-01-01" in lines[0]
        assert "\x1b" not in lines[0]
        assert "\u2028" not in lines[0]
        assert json.loads(JsonForm("api").format(one))["message"].startswith(r"Refused: x\n2026")


def test_text_is_not_turned_about_and_halves_of_characters_can_be_written() -> None:
    for one in (record("Refused: %s", TURNED), record("Refused\n%s", TURNED)):
        assert not set(TURNED) & set(TextForm().format(one))
        TextForm().format(one).encode()


def test_long_messages_are_cut() -> None:
    one = record("%s\n%s", "m" * 5_000, "f" * 30_000)
    head, following = TextForm().format(one).split("\n")
    assert head.endswith("m... (1000 more characters)")
    assert following.endswith("f... (10000 more characters)")


def test_what_is_printed_keeps_its_colours_and_no_more() -> None:
    assert printable("\x1b[1;31mred\x1b[0m\t50 %\r") == "\x1b[1;31mred\x1b[0m\t50 %\r"
    assert printable("a\x1b[2Jb\x1b]0;title\x07\u202ec") == r"a\x1b[2Jb\x1b]0;title\x07\u202ec"


def test_what_follows_a_line_is_indented_or_has_its_field() -> None:
    one = record("%s failed: %s\n%s", "Task 1", "no", "Traceback (most recent call last):\n  File x\nValueError: no")
    head, *rest = TextForm().format(one).split("\n")
    assert head.endswith("denzel.api: Task 1 failed: no")
    assert rest == ["  Traceback (most recent call last):", "    File x", "  ValueError: no"]
    body = json.loads(JsonForm("api").format(one))
    assert (body["message"], body["traceback"].split("\n")[-1]) == ("Task 1 failed: no", "ValueError: no")


def test_an_exception_is_in_a_field() -> None:
    try:
        raise ValueError("no\nway")
    except ValueError:
        one = record("It failed", exc_info=sys.exc_info())
    body = json.loads(JsonForm("api").format(one))
    assert body["message"] == "It failed"
    assert "ValueError: no" in body["traceback"]
    assert body["level"] == "warning"
    assert body["service"] == "api"
    assert body["logger"] == "denzel.api"


def test_a_line_is_about_whoever_runs() -> None:
    about.PROCESS.about = [("task-1", "request-7,00-" + "a" * 32 + "-" + "b" * 16 + "-01,,")]
    one = record("hello %d %%", 1)
    assert TextForm().format(one).endswith(f"hello 1 % [task task-1 request request-7 trace {'a' * 32}]")
    body = json.loads(JsonForm("denzel").format(one))
    assert (body["task_id"], body["request_id"], body["trace_id"]) == ("task-1", "request-7", "a" * 32)
    about.THREAD.about = [("task-2", "")]
    assert json.loads(JsonForm("denzel").format(one))["request_id"] == "task-2"


def test_of_a_merged_call_all_are_named_but_no_more_than_fit() -> None:
    about.PROCESS.about = [(f"task-{number}", "") for number in range(100)]
    body = json.loads(JsonForm("denzel").format(record("hello")))
    assert body["tasks"] == 100
    assert body["task_ids"] == [f"task-{number}" for number in range(16)]
    assert TextForm().format(record("hello")).endswith("task task-15 and 84 more]")


def test_a_message_of_somebody_else_is_no_error() -> None:
    for one in (
        record("100 % sure"),
        record("a dictionary: %(a)s", {"a": 1}),
        record("two\nlines %d", 2),
        record({"a": 1}),
    ):  # type: ignore[arg-type]
        assert json.loads(JsonForm("api").format(one))["message"]
        assert TextForm().format(one)


class Kept:
    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass


def test_what_is_printed_becomes_whole_lines() -> None:
    kept = Kept()
    output = Output(kept, lambda line: f"<{line}>", whole=True)  # type: ignore[arg-type]
    print("one", end="", file=output)
    output.flush()
    assert kept.text == ""
    print(" two\nthree", file=output)
    assert kept.text == "<one two>\n<three>\n"


def test_the_begin_of_a_line_is_seen_where_it_is_for_people() -> None:
    kept = Kept()
    output = Output(kept, lambda line: line, whole=False)  # type: ignore[arg-type]
    print("Name? ", end="", flush=True, file=output)
    assert kept.text == "Name? "


def test_lines_of_json_are_known() -> None:
    assert is_json_line(JsonForm("api").format(record("hello")))
    assert not is_json_line('{"a": 1}')


@pytest.mark.parametrize("printed", [FORGED_LINE, '{"time": not JSON}', JsonForm("api").format(record("hello"))])
def test_what_is_printed_is_no_line_of_the_log_whatever_it_looks_like(
    printed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept()
    monkeypatch.setattr("sys.stdout", kept)
    monkeypatch.setattr("sys.stderr", kept)
    monkeypatch.setattr("sys.excepthook", sys.excepthook)
    monkeypatch.setattr("threading.excepthook", threading.excepthook)
    adopt(JsonForm("api"))
    print(printed)
    body = json.loads(kept.text)
    assert (body["logger"], body["level"], body["message"]) == ("print.stdout", "info", printed)
    assert "task_id" not in body


@pytest.mark.parametrize(
    ("template", "arguments", "head", "following"),
    [
        ("100%% of %s\n%s", ("it", "a trace"), "100% of it", "a trace"),
        ("%*d of %.*f\n%s", (3, 7, 1, 0.25, "a trace"), "  7 of 0.2", "a trace"),
        ("%-5s|%05.1f|%%\n%d%%", ("a", 2.25, 7), "a    |002.2|%", "7%"),
    ],
)
def test_every_kind_of_placeholder_gets_its_arguments(
    template: str, arguments: tuple[Any, ...], head: str, following: str
) -> None:
    assert message_of(record(template, *arguments)) == (head, following)
