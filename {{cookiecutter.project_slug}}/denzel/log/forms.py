"""A line of the log as text, or as one object of JSON.

What a message is made of may come from clients: it stays one line, with control characters escaped. Where the message
itself goes on after a line break, as for tracebacks, the further lines are indented, or in a field of their own.
A record may bring `about` (see `about`) and `fields`, a dictionary that JSON gets besides.
"""

from __future__ import annotations

import json
import logging
import re
from datetime import datetime
from typing import Any

from denzel.log import about

TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

# Control characters, those that turn the direction of text about, and halves of characters, which cannot be written.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
# What is printed may be in colours, and go back to the begin of its line.
_PRINTED = re.compile(rf"\x1b\[[0-9;]*m|\r|{_CONTROL.pattern}")
# Characters of a message, and of what follows it; more are cut.
_LONGEST, _LONGEST_FOLLOWING = 4_000, 20_000
# What stands for arguments in a template: flags, widths and precisions, of which each `*` is one more; "%%" is none.
_PLACE = re.compile(r"%([#0\- +\d.*]*)([%a-zA-Z])")


def one_line(text: str) -> str:
    """The same with control characters escaped."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def printable(line: str) -> str:
    """A line that was printed, without what makes a terminal do more than show it in colours."""
    return _PRINTED.sub(lambda found: found[0] if found[0][-1] in "\r\tm" else one_line(found[0]), line)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}... ({len(text) - most} more characters)"


def _without_control(text: str) -> str:
    """The same but for tabs."""
    return _CONTROL.sub(lambda found: "\t" if found[0] == "\t" else one_line(found[0]), text)


def message_of(record: logging.LogRecord) -> tuple[str, str]:
    """The message of a record, one line, and what follows it: further lines, tracebacks; as a rule empty."""
    template, arguments = str(record.msg), record.args
    head, line_break, rest = template.partition("\n")
    if line_break and isinstance(arguments, tuple) and arguments:
        count = sum(options.count("*") + (kind != "%") for options, kind in _PLACE.findall(head))
        first, more = arguments[:count], arguments[count:]
        parts = [head % first if first else head.replace("%%", "%"), rest % more if more else rest.replace("%%", "%")]
    elif line_break and not arguments:
        parts = [head, rest]
    else:
        parts = [record.getMessage(), ""]
    if record.exc_info and not record.exc_text:
        record.exc_text = logging.Formatter().formatException(record.exc_info)
    following = (parts[1].rstrip("\n"), record.exc_text, record.stack_info)
    after = "\n".join(text for text in following if text)
    return one_line(_cut(parts[0], _LONGEST)), _cut(after, _LONGEST_FOLLOWING)


class TextForm(logging.Formatter):
    """For people."""

    def __init__(self, form: str = TEXT, times: str | None = None) -> None:
        super().__init__(form, times)

    def format(self, record: logging.LogRecord) -> str:
        record.message, following = message_of(record)
        record.asctime = self.formatTime(record, self.datefmt)
        ids = about.suffix(getattr(record, "about", None) or about.current())
        lines = [f"  {_without_control(line)}" for line in following.split("\n")] if following else []
        return "\n".join([self.formatMessage(record) + ids, *lines])


class JsonForm(logging.Formatter):
    """For machines: one object a line.

    Args:
        service: which one it is.
        mark: what each line begins with, for a process that forwards them; it cuts it off.
    """

    def __init__(self, service: str, mark: str = "") -> None:
        super().__init__()
        self._service, self._mark = service, mark

    def format(self, record: logging.LogRecord) -> str:
        message, following = message_of(record)
        body = self.body(record.created, record.levelname, record.name, record.process or 0, message)
        if whose := getattr(record, "about", None) or about.current():
            body.update(about.ids(whose))
        body.update(getattr(record, "fields", {}))
        if following:
            body["traceback" if "Traceback" in following else "details"] = following
        return self.dumps(body)

    def body(self, created: float, level: str, name: str, pid: int, message: str) -> dict[str, Any]:
        """What every line has."""
        return {
            "time": datetime.fromtimestamp(created).astimezone().isoformat(timespec="milliseconds"),
            "level": level.lower(),
            "service": self._service,
            "logger": name,
            "pid": pid,
            "message": message,
        }

    def dumps(self, body: dict[str, Any]) -> str:
        """A line."""
        return self._mark + json.dumps(body, default=str)


def is_json_line(text: str) -> bool:
    """Whether a line is one of these objects, as far as it looks like one; anybody can print what does."""
    return text.startswith('{"time": ') and text.endswith("}")
