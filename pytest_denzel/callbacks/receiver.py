"""A real HTTP server for the callbacks of asynchronous tasks: it records what arrives and answers as it is told."""

from __future__ import annotations

import contextlib
import json
import math
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

from pytest_denzel.callbacks import webhooks
from pytest_denzel.waiting import wait_until

__tracebackhide__ = True

T = TypeVar("T")

# Bytes of a body. Callbacks are bounded by the service; this bounds what a stranger could make the tests hold.
_MOST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Answer:
    """How the receiver answers one delivery.

    Attributes:
        status: the HTTP status; None: the connection is closed without an answer.
        delay: seconds to wait before.
        headers: further headers, such as Retry-After.
    """

    status: int | None = 200
    delay: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        what = "hung up" if self.status is None else f"answered {self.status}"
        return f"{what} after {self.delay:g} s" if self.delay else what


def slow(seconds: float, status: int | None = 200) -> Answer:
    """An answer that takes its time."""
    return Answer(status, delay=seconds)


def hang_up() -> Answer:
    """Close the connection without an answer."""
    return Answer(None)


@dataclass
class Delivery:
    """One callback as it arrived.

    Attributes:
        task_id: the header `webhook-id`.
        headers: all headers, the names in lower case.
        body: the bytes of the body.
        path: the path and query that was posted to.
        answer: what the receiver answered.
        received: when it arrived, in unix seconds.
    """

    task_id: str | None
    headers: dict[str, str]
    body: bytes
    path: str
    answer: Answer
    received: float

    def json(self) -> Any:
        """The parsed body."""
        return json.loads(self.body)

    def verify(self, secret: str) -> None:
        """Check the signature (Standard Webhooks).

        Raises:
            AssertionError: it is missing, too old, or does not fit; the message says which.
        """
        webhooks.verify(secret, self.headers, self.body)

    def __str__(self) -> str:
        body = self.body[:200].decode(errors="replace") + ("..." if len(self.body) > 200 else "")
        return f"POST {self.path}  task {self.task_id or '(no webhook-id)'}  {self.answer}\n    {body}"


class CallbackReceiver:
    """A callback receiver on this machine; every test has one of its own.

    Use `url` as a request's `callback_uri`. Without instructions each delivery is answered 200.
    """

    def __init__(self, bind: str = "127.0.0.1", host: str | None = None, secret: str | None = None) -> None:
        self.secret = secret
        self._deliveries: list[Delivery] = []
        self._answers: list[Answer] = []
        self.explain: Callable[[str], str] | None = None  # why the callback of a task, by its id, is missing
        self._news = threading.Condition()
        self._closed = threading.Event()
        self._path = f"/{secrets.token_hex(6)}"
        self._server = _Server(self, bind)
        self._host = host or bind
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="callback-receiver", daemon=True
        )
        self._thread.start()

    def __repr__(self) -> str:
        return f"<callback_receiver {self.url}: {len(self.deliveries)} deliveries>"

    @property
    def url(self) -> str:
        """Where callbacks are to be sent, as the services of the tier in use reach it."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._server.server_address[1]}{self._path}"

    @property
    def deliveries(self) -> list[Delivery]:
        """Everything that has arrived, in this order."""
        with self._news:
            return list(self._deliveries)

    def attempts(self, task_id: str) -> list[Delivery]:
        """The deliveries of one task so far, also those that were answered with an error."""
        return [delivery for delivery in self.deliveries if delivery.task_id == task_id]

    def will_answer(self, *answers: int | Answer) -> None:
        """Say how the next deliveries are answered; the last answer stays for all that follow.

        `will_answer(500, 500, 200)`, `will_answer(410)`, `will_answer(slow(2), 200)`, `will_answer(hang_up(), 200)`.

        Raises:
            ValueError: one of them is no answer.
        """
        if not answers:
            raise ValueError("will_answer needs at least one answer, such as 200")
        with self._news:
            self._answers = [_as_answer(answer) for answer in answers]

    def wait_for(self, task_id: str, timeout: float = 30) -> Delivery:
        """The task's callback, once the receiver has answered it with 2xx.

        Where the service's secret is known, its signature is checked.

        Raises:
            AssertionError: it did not arrive within `timeout` seconds (lists all that did), or its signature is wrong.
        """
        delivery = self._wait_until(
            lambda: next((d for d in self.attempts(task_id) if _was_answered_well(d)), None),
            timeout,
            f"no callback of task {task_id} was received and answered with 2xx",
            task_id,
        )
        if self.secret:
            delivery.verify(self.secret)
        return delivery

    def wait_for_attempts(self, task_id: str, count: int, timeout: float = 30) -> list[Delivery]:
        """The first `count` deliveries of a task, whatever they were answered.

        Raises:
            AssertionError: fewer arrived within `timeout` seconds; lists everything that did.
        """
        return self._wait_until(
            lambda: found[:count] if len(found := self.attempts(task_id)) >= count else None,
            timeout,
            f"fewer than {count} deliveries of task {task_id} arrived",
            task_id,
        )

    def assert_nothing_arrives(self, task_id: str, within: float) -> None:
        """Check that no (further) delivery of the task arrives within that time (seconds).

        Raises:
            AssertionError: one did.
        """
        before = len(self.attempts(task_id))
        try:
            self._wait_until(lambda: len(self.attempts(task_id)) > before, within, "nothing arrived")
        except AssertionError:
            return
        raise AssertionError(f"a delivery of task {task_id} arrived:\n{self.summary()}")

    def summary(self) -> str:
        """Everything that arrived, for people."""
        with self._news:
            if not self._deliveries:
                return "  (nothing arrived)"
            shown = "\n".join(f"  {delivery}" for delivery in self._deliveries[-20:])
            more = len(self._deliveries) - 20
            return (f"  ... {more} more before\n" if more > 0 else "") + shown

    def close(self) -> None:
        """Stop listening; deliveries that are being answered slowly are cut off."""
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()
        self._server.drop_connections()
        self._thread.join()

    def _wait_until(self, look: Callable[[], T | None], timeout: float, otherwise: str, task_id: str = "") -> T:
        """Look now and at each delivery; the failure begins with `otherwise`, tells what the service says of the task,
        and what did arrive."""

        def late() -> AssertionError:
            why = f": {self.explain(task_id)}" if task_id and self.explain else ""
            arrived = f"What arrived at {self.url}:\n{self.summary()}"
            return AssertionError(f"{otherwise} within {timeout:g} s{why}. {arrived}")

        with self._news:
            return wait_until(look, timeout, late, pause=math.inf, sleep=self._news.wait)

    def _next_answer(self) -> Answer:
        if not self._answers:
            return Answer()
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def _receive(self, handler: BaseHTTPRequestHandler, body: bytes) -> Answer | None:
        """Take a delivery: how it is answered, or None when it is not for this test."""
        if not handler.path.startswith(self._path):
            return None
        headers = {name.lower(): value for name, value in handler.headers.items()}
        with self._news:
            answer = self._next_answer()
            delivery = Delivery(headers.get("webhook-id"), headers, body, handler.path, answer, time.time())
            self._deliveries.append(delivery)
            self._news.notify_all()
        if answer.delay:
            self._closed.wait(answer.delay)
        return answer


def _as_answer(answer: object) -> Answer:
    """What a test gives as an answer, which may be a mere status."""
    status = answer.status if isinstance(answer, Answer) else answer
    if isinstance(status, int) and 100 <= status <= 599:
        return answer if isinstance(answer, Answer) else Answer(status)
    if isinstance(answer, Answer) and status is None:
        return answer
    raise ValueError(f"an answer is a status from 100 to 599, slow(), hang_up() or an Answer, not {answer!r}")


def _was_answered_well(delivery: Delivery) -> bool:
    return delivery.answer.status is not None and 200 <= delivery.answer.status < 300


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128  # connections that wait to be accepted

    def __init__(self, receiver: CallbackReceiver, bind: str) -> None:
        self.receiver = receiver
        self.connections: set[socket.socket] = set()
        self.address_family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        super().__init__((bind, 0), _Handler)

    def server_bind(self) -> None:
        # HTTPServer would look up the host's name, which can take seconds
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.socket.getsockname()[:2]

    def drop_connections(self) -> None:
        """Close what clients keep open: nothing is received any more."""
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is the test's affair, not a traceback on stderr."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds of silence until a connection is closed
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > _MOST_BYTES:
            self.close_connection = True
            return self._send(413)
        answer = self.server.receiver._receive(self, self.rfile.read(length))
        if answer is None:
            return self._send(404)
        if answer.status is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return None
        return self._send(answer.status, answer.headers)

    def _send(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        self.send_response_only(status)
        self.send_header("Date", formatdate(usegmt=True))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what arrived is shown when a test fails."""
