"""How the API reads requests from a connection and writes responses to it: uvicorn's protocol with bounds.

Offers of other protocols are ignored, heads and trailers are bounded, refusals are JSON, and a response travels in one
piece. A client that still sends when its connection is to end gets the answer and the end of the stream; what comes
after that is dropped, since a connection that is closed with data unread would be reset, and the answer lost with it.

A client that has closed its connection is told from one that only ended its sending side, which still gets its
answers. At first both look the same: the stream ends. So an interim response is sent, `100 Continue`, which a client
of HTTP/1.1 ignores when it does not expect it (RFC 9110, section 15.2). The machine of a client that has closed
answers to that by a reset, and the next one cannot be sent. It is repeated while the client waits, as a proxy may stand
between. HTTP/1.0 knows no interim responses: such a client always counts as there.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from denzel import jsonio
from denzel.server import keeper
from denzel.server.pace import Paced
from denzel.server.refusals import HEAD_TOO_LARGE, MOST_HEAD_BYTES, answer_full, answer_head_too_large
from denzel.server.unread import CountsUnread

# Bytes that may come of a body without any of its content (then they are trailers); one read brings this many at most.
_MOST_EMPTY_BYTES = 262_144
_INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
# Seconds between interim responses to a client whose stream has ended; the last one again and again.
_PROBE_AFTER = (0.05, 0.1, 0.2, 0.5, 1.0)
_UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)


class Protocol(CountsUnread, Paced, HttpToolsProtocol):
    """Uvicorn's protocol, which takes requests that offer to upgrade, bounds their heads, and refuses in JSON.

    Its keeper, the server's, closes it when its client is too slow; there are no timers of its own.

    A request finds it in its scope as `denzel.connection`.

    Attributes:
        is_gone: the client has closed the connection, or it broke.
        when_gone: called when that happens.
    """

    _head_bytes = 0  # that have come since the last request, until the next one's head is complete
    _uncounted = 0  # at most so many more came together with the last request
    _fed = 0  # bytes that have come at last
    _empty_bytes = 0  # since the body's last content
    _held = b""  # the end of what has come of a head, if it may be the begin of an offer
    _deaf = False  # nothing more is read from this connection
    _is_reserve = False  # there were too many connections when it was made

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.is_gone = False
        self.when_gone: set[Callable[[], None]] = set()
        self._probing: asyncio.TimerHandle | None = None
        self._quick_way: Any = getattr(self.app, "quick_way", None)
        self._held_back: Any = None  # a request that may go the quick way when its body has come
        self.keeper = self.server_state.keeper  # type: ignore[attr-defined]

    def connection_made(self, transport: Any) -> None:
        super().connection_made(_Joining(transport, self))  # type: ignore[arg-type]
        self.since, self.number = self.keeper.now, self.keeper.number()
        if len(self.connections) > self.keeper.most:
            self._is_reserve = self.keeper.crowded(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_gone = True
        if self._probing:
            self._probing.cancel()
        super().connection_lost(exc)
        for tell in list(self.when_gone):
            tell()

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends nothing more: keep the connection while a whole request of its is to be answered."""
        cycle = self.cycle
        if self.lingering or cycle is None or cycle.response_complete or cycle.more_body:
            return False
        cycle.keep_alive = False  # the last one, so the connection ends with its answer
        self._probe(0)
        return True

    def _probe(self, number: int) -> None:
        """Find out whether the client is there, unless its answer is on its way."""
        if self.transport.is_closing() or self.cycle.response_started or self.cycle.scope["http_version"] == "1.0":
            return
        if not self.pipeline:  # else it would come between the parts of another answer
            self.transport.write(_INTERIM)
        after = _PROBE_AFTER[min(number, len(_PROBE_AFTER) - 1)]
        self._probing = self.loop.call_later(after, self._probe, number + 1)

    def on_response_complete(self) -> None:
        """As uvicorn has it, but for the timer of connections without a request: the keeper has one for all."""
        self.server_state.total_requests += 1
        if not self.in_body:
            self.since = self.keeper.now
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)

    def close_for(self, cause: str) -> None:
        """Close the connection, with a word to a client that has begun a request and got no answer to it."""
        cycle = self.cycle
        is_begun = self.in_head or (self.in_body and not cycle.response_started)
        if cause == keeper.UNREAD or self.lingering or (self.in_body and not is_begun):
            self.abort()
        elif is_begun:
            self._refuse(408, "Request timeout", keeper.TOLD[cause], keep_reading=False)
        else:
            self.transport.close()

    def shutdown(self) -> None:
        """The process leaves: end the connection, after the answer to a request that is under way."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete or cycle.disconnected:
            self.transport.end()
        else:
            cycle.keep_alive = False

    def stop_listening(self) -> None:
        """Drop what still comes: the connection ends with an answer that is about to be given."""
        self._deaf = True

    def abort(self) -> None:
        """Close the connection at once."""
        self._deaf = True
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self.lingering:
            self.body_bytes += len(data)
            return
        if self._deaf:
            return
        self._fed = len(data)
        if self.in_body:
            self._empty_bytes += len(data)
        else:
            self._head_bytes += len(data)
            data = self._held + data
            if self._head_bytes > MOST_HEAD_BYTES and not self._ends_in_time(data):
                return self._refuse(**HEAD_TOO_LARGE)
            if not self.in_head:
                data = data.lstrip(b"\r\n")  # empty lines before a request mean nothing
            data, self._held = _without_upgrade(data)
        if self._empty_bytes > _MOST_EMPTY_BYTES:
            self._refuse(431, "Request trailers too large", f"Trailers may have {_MOST_EMPTY_BYTES} bytes.", False)
        else:
            self._feed(data)
            if self._held_back:  # its body has not come together with its head
                self.take_usual_way(self._held_back)

    def _ends_in_time(self, data: bytes) -> bool:
        """Whether the head that these bytes are of, or begin with, ends within the bound, which lies in them."""
        bound = max(0, len(data) - (self._head_bytes - MOST_HEAD_BYTES))
        begin = 0 if self.in_head else len(data) - len(data.lstrip(b"\r\n"))
        return data.find(b"\r\n\r\n", begin, bound) >= 0

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.keeper.count(keeper.NO_HTTP, self.client)
            self._refuse(400, "Bad request", "Invalid HTTP request received.")
        except httptools.HttpParserUpgrade:
            # An offer that was not seen, as its head came together with other requests: what follows makes no sense.
            self.cycle.keep_alive = False
            self._deaf = True

    def on_message_begin(self) -> None:
        self.in_head, self.since = True, self.keeper.now
        super().on_message_begin()
        self.scope["denzel.connection"] = self  # type: ignore[typeddict-unknown-key]

    def on_headers_complete(self) -> None:
        if self._head_bytes + self._uncounted > MOST_HEAD_BYTES and self._head_size() > MOST_HEAD_BYTES:
            self.scope["denzel.too_large"] = True  # type: ignore[typeddict-unknown-key]
        self.in_body, self._empty_bytes = True, 0
        self.in_head, self.since, self.body_bytes = False, self.keeper.now, 0
        super().on_headers_complete()

    def _head_size(self) -> int:
        """Bytes of a head that is complete, without spaces that mean nothing."""
        lines = sum(len(name) + len(value) + len(b": \r\n") for name, value in self.headers)
        return len(self.parser.get_method()) + len(self.url) + len(b"  HTTP/1.1\r\n") + lines + len(b"\r\n")

    def on_body(self, body: bytes) -> None:
        self._empty_bytes = 0
        self.body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.in_body = False
        self._head_bytes, self._uncounted = 0, self._fed
        super().on_message_complete()
        if held_back := self._held_back:
            self._take_quick_way(held_back)
        if not self.pipeline:  # else a large body would leave nobody to notice that its client closes
            self.flow.resume_reading()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        """What uvicorn calls when it is a request's turn: its head has come."""
        if self._is_reserve and self._is_too_many(cycle):
            super()._start_asgi_task(cycle, answer_full)
        elif "denzel.too_large" in cycle.scope:
            self.stop_listening()
            super()._start_asgi_task(cycle, answer_head_too_large)
        elif self._quick_way is None or not self._quick_way.may_take(cycle.scope):
            super()._start_asgi_task(cycle, app)
        elif cycle.more_body:
            self._held_back = cycle
        else:
            self._take_quick_way(cycle)

    def _take_quick_way(self, cycle: Any) -> None:
        self._held_back = None
        # The usual way waits until a client that does not read has room for more.
        if self.flow.write_paused or not self._quick_way.take(self, cycle):
            self.take_usual_way(cycle)

    def _is_too_many(self, cycle: Any) -> bool:
        self._is_reserve = len(self.connections) > self.keeper.most
        if not self._is_reserve or cycle.scope["path"] in keeper.PROBES:
            return False
        self.keeper.count(keeper.FULL, self.client)
        return True

    def take_usual_way(self, cycle: Any) -> None:
        """Let the application have a request."""
        self._held_back = None
        super()._start_asgi_task(cycle, self.app)

    def answer(self, cycle: Any, headers: bytes, body: bytes) -> None:
        """Answer a request by 200, with these lines of headers (each ends in CR LF) besides the usual ones."""
        cycle.response_started = cycle.response_complete = True
        if not self.transport.is_closing():
            usual = b"".join(b"%b: %b\r\n" % header for header in self.server_state.default_headers)
            last = b"" if cycle.keep_alive else b"connection: close\r\n"
            head = b"HTTP/1.1 200 OK\r\n%b%bcontent-length: %d\r\n%b\r\n" % (usual, headers, len(body), last)
            self.transport.write_whole(head, body)
            if not cycle.keep_alive:
                self.transport.close()
        self.on_response_complete()

    def _refuse(self, status: int, title: str, description: str, keep_reading: bool = True) -> None:
        if self._deaf:
            return
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete and not self.in_body:
            # Requests that came before wait for their answers; this one would be taken for the first of those.
            cycle.keep_alive, self._deaf = False, True
            return
        if self.in_body:  # the request whose body it was about ends with it
            cycle.disconnected = True
            cycle.message_event.set()
        body = jsonio.dumps({"title": title, "description": description})
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
            f"x-request-id: {secrets.token_hex(16)}\r\nconnection: close\r\n\r\n"
        )
        self._deaf = True
        self.transport.write(head.encode() + body)
        if keep_reading:
            self.transport.close()
        else:
            self.transport.end()

    def linger(self) -> bool:
        """Whether the client may still be sending; from then on what comes is dropped, within the bounds of a body."""
        if not (self.in_body or self.in_head or self._deaf) or self.lingering:
            return False
        if not self.in_body:
            self.since, self.body_bytes, self.headers = self.keeper.now, 0, []
        self.lingering = self._deaf = True
        self.flow.resume_reading()
        return True


class _Joining:
    """A transport that sends what begins a response, its head, together with what follows in the same moment.

    uvloop makes a system call for each piece, which wakes the client for a head without a body.

    Attributes:
        written: bytes, so far.
    """

    def __init__(self, transport: asyncio.Transport, protocol: Protocol) -> None:
        self._transport = transport
        self._protocol = protocol
        self._loop = protocol.loop
        self._head = b""
        self._is_ending = False
        self.written = 0
        self.get_write_buffer_size = transport.get_write_buffer_size

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send data, or hold it until the event loop's next turn."""
        self.written += len(data)
        if self._head:
            head, self._head = self._head, b""
            self._transport.writelines((head, data))
        elif data is _INTERIM:
            self._transport.write(data)
        elif data.startswith(b"HTTP/"):
            self._head = data
            self._loop.call_soon(self._flush)
        else:
            self._transport.write(data)

    def write_whole(self, head: bytes, body: bytes) -> None:
        """Send a response that is complete."""
        self.written += len(head) + len(body)
        self._transport.writelines((head, body))

    def is_closing(self) -> bool:
        """Whether nothing more can be sent."""
        return self._is_ending or self._transport.is_closing()

    def close(self) -> None:
        """Close the connection when all is sent; while the client may still be sending, only this side of it."""
        self._flush()
        if not self._transport.is_closing() and self._protocol.linger():
            self._is_ending = True
            self._transport.write_eof()
        else:
            self._transport.close()

    def end(self) -> None:
        """Close the connection when all is sent, whatever the client does."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        head, self._head = self._head, b""
        if head and not self._transport.is_closing():
            self._transport.write(head)


def _without_upgrade(data: bytes) -> tuple[bytes, bytes]:
    """A request's head (a part of it) without the offer of another protocol, and what can only be judged with the rest.

    A server may ignore such offers (RFC 9110, section 7.8), but httptools would end the request there, without its
    body. Java's client, for one, offers HTTP/2 with each request.
    """
    held = b""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        end = len(data)
        line = max(0, data.rfind(b"\r\n"))  # the last one, with the break before it
        if data.endswith(b"\r") or b"\r\nupgrade:".startswith(data[line : line + 10].lower()):
            data, held = data[:line], data[line:]
    if b"\r\nupgrade:" in data[:end].lower():
        data = _UPGRADE.sub(b"", data[:end]) + data[end:]
    return data, held
