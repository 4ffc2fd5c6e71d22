"""Where a task comes from: the id of the request that brought it, and the trace that it belongs to.

The id is the header `X-Request-Id`, where the client sends one that can be used, else that of the task. The trace is
what W3C Trace Context says (https://www.w3.org/TR/trace-context/): `traceparent`, and with it `tracestate`; one that
is malformed is ignored. Both go into the logs of all processes and on to the receiver of the callback.

An origin travels with its task as text, in its record too: without a space, and empty where there is nothing to tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

REQUEST_ID, TRACEPARENT, TRACESTATE = "X-Request-Id", "traceparent", "tracestate"
# The same as they come in; a request without any of them has nothing to tell.
HEADERS = frozenset((b"x-request-id", b"traceparent", b"tracestate"))

# What another service may have chosen: letters, digits, and what separates them in usual forms.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/@+=~-]{1,128}", re.ASCII)
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
# A key, and a value: printable, without comma and equals sign, and no space at its end.
_MEMBER = re.compile(
    r"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]",
    re.ASCII,
)
_MOST_MEMBERS, _MOST_STATE = 32, 4096  # characters; the standard wants 512 to be passed on at least
_NOTHING = "-"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a task comes from.

    Attributes:
        request_id: as the client has sent it; empty: the task's own id is that of the request.
        traceparent, tracestate: as they came, or of the span that the request is here; empty: there is none.
        since: when it waits from, in unix seconds; 0: nobody wants to know.
    """

    request_id: str = ""
    traceparent: str = ""
    tracestate: str = ""
    since: float = 0.0

    @property
    def text(self) -> str:
        """How it travels."""
        if not (self.request_id or self.traceparent):
            return ""
        since = f"{self.since:.6f}" if self.since else ""
        return ",".join((self.request_id, self.traceparent, since, quote(self.tracestate, safe="=,/@*_-;:")))

    @property
    def headers(self) -> dict[str, str]:
        """What is handed on of the trace."""
        if not self.traceparent:
            return {}
        state = {TRACESTATE: self.tracestate} if self.tracestate else {}
        return {TRACEPARENT: self.traceparent, **state}

    @property
    def trace_id(self) -> str:
        """The trace's id, in hexadecimal; empty: there is none."""
        return self.traceparent[3:35]


NOWHERE = Origin()


def parse(text: str) -> Origin:
    """The origin that was made into this text."""
    if not text:
        return NOWHERE
    request_id, traceparent, since, state = [*text.split(",", 3), "", "", ""][:4]
    return Origin(request_id, traceparent, unquote(state), float(since or 0))


def from_headers(headers: Iterable[tuple[bytes, bytes]]) -> Origin:
    """The origin of a request with these headers (names in lower case)."""
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        if name in HEADERS:
            found.setdefault(name, []).append(value)
    if not found:
        return NOWHERE
    request_ids = found.get(b"x-request-id", [])
    request_id = request_ids[0].decode("latin-1").strip() if len(request_ids) == 1 else ""
    traceparents = found.get(b"traceparent", [])
    traceparent = usable_traceparent(traceparents[0].decode("latin-1")) if len(traceparents) == 1 else ""
    state = ",".join(value.decode("latin-1") for value in found.get(b"tracestate", [])) if traceparent else ""
    return Origin(usable_request_id(request_id), traceparent, usable_tracestate(state))


def usable_request_id(text: str) -> str:
    """The same; empty where it is none that can be used: it goes into logs and headers."""
    return text if _REQUEST_ID.fullmatch(text) else ""


def usable_traceparent(text: str) -> str:
    """The same, in the version that is known here (00); empty where it is malformed."""
    match = _TRACEPARENT.fullmatch(text.strip(" \t"))
    if not match or match[1] == "ff" or (match[1] == "00" and match[5] is not None):
        return ""
    if not match[2].strip("0") or not match[3].strip("0"):
        return ""
    # What a later version means by more of the flags is not known here (section 3.2.2.5 of the standard).
    return f"00-{match[2]}-{match[3]}-{int(match[4], 16) & 1:02x}"


def usable_tracestate(text: str) -> str:
    """The same, its members separated by commas alone; empty where one is malformed, or there are too many."""
    members = [member.strip(" \t") for member in text.split(",")]
    members = [member for member in members if member]
    keys = [member.partition("=")[0] for member in members]
    good = len(members) <= _MOST_MEMBERS and len(text) <= _MOST_STATE and len(set(keys)) == len(keys)
    return ",".join(members) if good and all(_MEMBER.fullmatch(member) for member in members) else ""


def of_record(fields: Mapping[bytes, bytes]) -> Origin:
    """The origin that a task's record tells."""
    return parse(fields.get(b"origin", b"").decode())


def for_receiver(task_id: str, origin: Origin) -> dict[str, str]:
    """The headers that tell the receiver of a callback where that comes from."""
    return {REQUEST_ID: origin.request_id or task_id, **origin.headers}
