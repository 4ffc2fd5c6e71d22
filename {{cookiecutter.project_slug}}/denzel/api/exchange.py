"""A request and its answer, as headers and the log tell of them: X-Request-Id, Server-Timing, one line.

Every answer that Falcon gives passes here. The quick way tells the same by itself.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from denzel import origin
from denzel.api.task_id import TaskIds
from denzel.jsonio import dumps
from denzel.log.about import REQUEST, About
from denzel.log.sample import ANSWERED, Sample, tell_answer
from denzel.memory import MEMORY, NoRoom
from denzel.origin import Origin
from denzel.timings import UNKNOWN, CallTimes, server_timing
from denzel.tracing.spans import NO_SPANS, Spans

# Where the scope of a request has it.
EXCHANGE = "denzel.exchange"
# What looks at the service time and again; the log tells of it at level debug.
_PROBES = frozenset(("/ping", "/ready", "/metrics"))

# What the log calls the status of an answer that was not given, as nginx does.
CLIENT_GONE = 499

Send = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass(slots=True)
class Exchange:
    """A request, and what is known of its answer.

    Attributes:
        began: when it came (perf_counter).
        origin: where it says that it comes from.
        request_id: the header's, or one that was made.
        new_task: the id of its task, if it brings one.
        task_id: the id of the task that it was about.
        verify: seconds of `verify_input`, None: not called.
        verified: when that had ended (perf_counter).
        call: the times of the call that its task ran in.
        answered: when the outcome of its task was there (perf_counter); 0: it was not.
        timing: what Server-Timing tells instead.
        span: of this request.
        told: it has its line.
        has_location: the answer says where its task is to be looked up.
        status: of the answer.
    """

    method: str
    path: str
    began: float
    origin: Origin
    request_id: str
    new_task: str = ""
    task_id: str = ""
    verify: float | None = None
    verified: float = 0.0
    call: CallTimes = UNKNOWN
    answered: float = 0.0
    timing: str = ""
    status: int = 0
    span: Any = None
    told: bool = False
    has_location: bool = False

    @property
    def about(self) -> About:
        """What lines of the log are about."""
        text = self.origin.text
        return ((self.task_id, text if self.task_id == self.request_id else self._named.text),)

    @property
    def _named(self) -> Origin:
        return Origin(self.request_id, self.origin.traceparent, self.origin.tracestate)

    def about_task(self, task_id: str) -> None:
        """It is about this task."""
        self.task_id = task_id
        REQUEST.set(self.about)

    def measured(self, began: float) -> float:
        """`verify_input` has ended; how many seconds it took."""
        self.verified = time.perf_counter()
        self.verify = self.verified - began
        if self.span is not None:  # its worker wants to know
            self.origin = replace(self.origin, since=time.time())
        return self.verify

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Of every answer."""
        found = [(b"x-request-id", self.request_id.encode())]
        timing = self.timing or server_timing(self.verify, time.perf_counter() - self.verified, self.call)
        return [*found, (b"server-timing", timing.encode())] if timing else found


class Exchanges:
    """Makes them of requests, and tells of answers.

    Args:
        ids: of tasks.
        rate: how many lines a second the log has room for; failures come besides.
        spans: of requests that are traced.
    """

    def __init__(self, ids: TaskIds, rate: float, spans: Spans = NO_SPANS) -> None:
        self._ids = ids
        self._spans = spans
        self.sample = Sample(ANSWERED, rate, "answers")

    def begin(self, method: str, path: str, headers: Iterable[tuple[bytes, bytes]], owner: str = "") -> Exchange:
        """A request has come, of this owner (the name of its key)."""
        came = origin.from_headers(headers)
        new_task = self._ids.new(owner) if path == "/predict" and method == "POST" else ""
        request_id = came.request_id or new_task or secrets.token_hex(16)
        exchange = Exchange(method, path, time.perf_counter(), came, request_id, new_task)
        if new_task and self._spans.on:
            exchange.span, exchange.origin = self._spans.begin_request(f"{method} {path}", came)
        return exchange

    def sending(self, exchange: Exchange, send: Send) -> Send:
        """The same, with what every answer has, and a line in the log."""

        held_back = False  # the answer's body; another one was sent in its place

        async def send_told(message: dict[str, Any]) -> None:
            nonlocal held_back
            if held_back:
                return
            if message["type"] == "http.response.start":
                if exchange.method != "HEAD" and not _has_room_for(message):
                    held_back = True
                    return await self._send_no_room(exchange, send)
                exchange.status = message["status"]
                headers = list(message.get("headers", ()))
                exchange.has_location = any(name == b"location" for name, _ in headers)
                message = {**message, "headers": headers + exchange.headers()}
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                self.end(exchange)

        return send_told

    async def _send_no_room(self, exchange: Exchange, send: Send) -> None:
        """In place of an answer that is large, while too many such ones wait for their clients."""
        exchange.status = 503
        body = dumps({"title": "Service unavailable", "description": f"{NoRoom()}."})
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"retry-after", b"1"),
            *exchange.headers(),
        ]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        self.end(exchange)

    def end(self, exchange: Exchange) -> None:
        """It was answered, or never will be; told again, nothing more happens."""
        if exchange.told:
            return
        exchange.told = True
        exchange.status = exchange.status or CLIENT_GONE
        now, level = time.perf_counter(), logging.INFO
        if exchange.span is not None:
            self._spans.end_request(exchange, now)
        if exchange.status >= HTTPStatus.INTERNAL_SERVER_ERROR and exchange.path not in _PROBES:
            level = logging.WARNING
        elif exchange.path in _PROBES:
            level = logging.DEBUG
            if not ANSWERED.isEnabledFor(level):
                return
        elif not self.sample.admits(now):
            return
        tell_answer(
            exchange.method, exchange.path[:200], exchange.status, now - exchange.began, exchange.about,
            exchange.verify, now - exchange.verified, exchange.call, level,
        )  # fmt: skip


def _has_room_for(start: dict[str, Any]) -> bool:
    """Whether there is memory for the answer that begins so."""
    for name, value in start.get("headers", ()):
        if name == b"content-length":
            return MEMORY.has_room_for(int(value))
    return True
