"""A callback inbox on this machine, for `make receiver` and the template's demo."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from commands.shared.project import CommandError
from denzel.signing import is_signed, read_secrets

LOOPBACK = "127.0.0.1"
MOST_BYTES = 64 * 1024 * 1024  # of a callback's body; a larger one is answered 413


class Arrival(NamedTuple):
    """One callback as it arrived."""

    at: float  # unix seconds
    path: str
    headers: Message
    body: bytes
    signature: str  # what its check says


@contextlib.contextmanager
def receiving(
    arrived: Callable[[Arrival], None], secret: str, port: int = 0, addresses: Sequence[str] = (LOOPBACK,)
) -> Iterator[int]:
    """Call ``arrived`` for each callback while the block runs; gives the port (a free one for 0).

    Raises:
        CommandError: the port is taken.
    """
    lock = threading.Lock()

    def take(arrival: Arrival) -> None:
        with lock:
            arrived(arrival)

    servers: list[ThreadingHTTPServer] = []
    try:
        for address in addresses:
            try:
                servers.append(_Server((address, port), _handler(take, secret)))
            except OSError as error:
                raise CommandError(
                    f"Port {port} cannot be used on {address} ({error.strerror}). "
                    f"Pass an available one: make receiver PORT={port + 1 if port < 65535 else 9000}"
                ) from None
            port = servers[0].server_address[1]
            threading.Thread(target=servers[-1].serve_forever, args=(0.1,), daemon=True).start()
        yield port
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


def check_signature(secret: str, headers: Message, body: bytes) -> str:
    """What the callback's signature is worth, in words (https://www.standardwebhooks.com)."""
    signatures = headers.get("Webhook-Signature", "")
    if not signatures.split():
        return "none"
    try:
        keys = read_secrets(secret)
    except ValueError:
        return "not checked, CALLBACK_SECRET is not whsec_ and base64"
    if not keys:
        return "not checked, CALLBACK_SECRET is empty"
    if is_signed(signatures, keys, headers.get("Webhook-Id", ""), headers.get("Webhook-Timestamp", ""), body):
        return "valid"
    return "WRONG, it was made with another secret or for another body"


class _Server(ThreadingHTTPServer):
    daemon_threads = True


def _handler(take: Callable[[Arrival], None], secret: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "denzel-receiver"
        timeout = 30  # seconds of silence before a connection is closed

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not length.isdigit() or int(length) > MOST_BYTES:
                self.close_connection = True
                self._answer(411 if not length.isdigit() else 413)
                return
            body = self.rfile.read(int(length))
            if len(body) < int(length):
                self.close_connection = True
                return
            worth = check_signature(secret, self.headers, body)
            take(Arrival(time.time(), self.path, self.headers, body, worth))
            self._answer(204)

        def do_GET(self) -> None:
            self._answer(405)

        def _answer(self, status: int) -> None:
            self.send_response(status)
            if status != 204:
                self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass  # arrivals are shown, not requests

    return Handler
