"""A small HTTP client for the commands that talk to the service, and how they show what it answers."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from email.message import Message
from typing import Any, NamedTuple

from commands.shared import client_key
from commands.shared.project import CommandError
from commands.shared.screen import colour

# Headers of an answer that tell a client something it may act on.
TELLING = ("Location", "Denzel-Model", "Denzel-Task-Id", "Preference-Applied", "Retry-After")
_MOST_LINES, _LONGEST_LINE = 60, 200
_NOTHING: Any = object()  # None is a document: null

# the services are on this machine: a proxy in the environment must not be asked for them
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Response(NamedTuple):
    """What the service answered, errors included."""

    status: int
    reason: str
    headers: Message
    body: bytes
    seconds: float

    def json(self) -> Any:
        """The body's JSON, None if it holds none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


def send(url: str, document: Any = _NOTHING, headers: Mapping[str, str] | None = None, timeout: float = 90) -> Response:
    """GET a URL of the API, or POST a document as JSON to it.

    Raises:
        CommandError: no answer came; the text says why.
    """
    body = None if document is _NOTHING else json.dumps(document).encode()
    request = urllib.request.Request(url, data=body, headers={**client_key.headers(), **(headers or {})})
    if body is not None:
        request.add_header("Content-Type", "application/json")
    started = time.monotonic()
    try:
        with direct.open(request, timeout=timeout) as response:
            answer = response.status, response.reason, response.headers, response.read()
    except urllib.error.HTTPError as error:
        with error:
            answer = error.code, error.reason, error.headers, error.read()
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise CommandError(f"No answer from {url} ({reason}). See: make status, make logs") from None
    return Response(*answer, time.monotonic() - started)


def shown(answer: Response) -> str:
    """The answer for a terminal: status and time, the headers that matter, the body."""
    status = f"{answer.status} {answer.reason}"
    lines = [f"{colour(status, 'green' if answer.status < 300 else 'red')}   ({answer.seconds * 1000:.0f} ms)"]
    lines += [f"{name}: {printable(answer.headers[name])}" for name in TELLING if name in answer.headers]
    return "\n".join([*lines, pretty(answer.body)])


def pretty(body: bytes | Any) -> str:
    """JSON, indented and cut where it is very long; anything else as its text."""
    if isinstance(body, bytes):
        try:
            body = json.loads(body)
        except ValueError:
            return cut(printable(body.decode("utf-8", "replace"), keep="\n\t").splitlines())
    return cut(printable(json.dumps(body, indent=2, ensure_ascii=False), keep="\n").splitlines())


def cut(lines: Iterable[str]) -> str:
    """The first of the lines, each up to a length that a terminal bears."""
    lines = list(lines)
    left = [line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]} ..." for line in lines[:_MOST_LINES]]
    if len(lines) > _MOST_LINES:
        left.append(f"... ({len(lines) - _MOST_LINES} more lines)")
    return "\n".join(left)


def printable(text: str, keep: str = "") -> str:
    """The text without what could control a terminal."""
    return "".join(char if char.isprintable() or char in keep else ascii(char)[1:-1] for char in text)
