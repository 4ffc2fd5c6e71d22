"""`make receiver`: a callback inbox on this machine that prints each callback as it arrives."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from commands.shared.arguments import parse_arguments, port
from commands.shared.env import read_env
from commands.shared.http import pretty, printable
from commands.shared.project import CommandError
from commands.shared.screen import colour, say

DEFAULT_PORT = 9000
LOOPBACK = "127.0.0.1"
# How containers call this machine (extra_hosts in docker-compose.yml).
FROM_CONTAINERS = "host.docker.internal"
MOST_BYTES = 64 * 1024 * 1024
_TELLING = ("Content-Type", "User-Agent", "Webhook-Id", "Webhook-Timestamp", "Webhook-Signature")


class Arrival(NamedTuple):
    """One callback as it arrived."""

    at: float  # unix seconds
    path: str
    headers: Message
    body: bytes
    signature: str  # what its check says


def run(arguments: list[str]) -> int:
    """Receive until Ctrl-C."""
    options = parse_arguments(arguments, {"PORT": DEFAULT_PORT})
    number = port(options["PORT"], "PORT")
    settings = read_env()
    gateway = _gateway()
    addresses = [LOOPBACK, *([gateway] if gateway and _is_own(gateway) else [])]
    with receiving(
        lambda arrival: say(shown(arrival)), settings.get("CALLBACK_SECRET", ""), number, addresses
    ) as found:
        say(_instructions(found, settings.get("CALLBACK_ALLOW", ""), containers=gateway is not None))
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
    return 0


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


def shown(arrival: Arrival) -> str:
    """An arrival for a terminal: when, the headers that matter, what the signature is worth, the body."""
    when = time.strftime("%H:%M:%S", time.localtime(arrival.at))
    lines = [colour(f"\n{when}  POST {printable(arrival.path)}", "green")]
    lines += [f"{name}: {printable(arrival.headers[name])}" for name in _TELLING if name in arrival.headers]
    return "\n".join([*lines, f"(signature: {arrival.signature})", pretty(arrival.body)])


def check_signature(secret: str, headers: Message, body: bytes) -> str:
    """What the callback's signature is worth, in words (https://www.standardwebhooks.com)."""
    signatures = headers.get("Webhook-Signature", "").split()
    if not signatures:
        return "none"
    if not secret:
        return "not checked, CALLBACK_SECRET is empty"
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        return "not checked, CALLBACK_SECRET is not whsec_ and base64"
    signed = f"{headers.get('Webhook-Id', '')}.{headers.get('Webhook-Timestamp', '')}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    if any(hmac.compare_digest(expected.encode(), given.encode()) for given in signatures):
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
            signature = check_signature(secret, self.headers, body)
            take(Arrival(time.time(), self.path, self.headers, body, signature))
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


def _gateway() -> str | None:
    """The address under which containers reach this machine; None without a Docker Engine."""
    command = ["docker", "network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", "bridge"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _is_own(address: str) -> bool:
    """Whether this machine has the address; with Docker Desktop it is that of a virtual machine."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def _instructions(port: int, allowed: str, containers: bool) -> str:
    hosts = [LOOPBACK, *([FROM_CONTAINERS] if containers else [])]
    lines = [f"Receiving callbacks on port {port} (Ctrl-C stops). Send asynchronous requests with"]
    lines.append(f'  "callback_uri": "http://{LOOPBACK}:{port}/"              from make dev')
    if containers:
        lines.append(f'  "callback_uri": "http://{FROM_CONTAINERS}:{port}/"   from the containers')
    entries = [entry.strip() for entry in allowed.split(",") if entry.strip()]
    missing = [f"{host}:{port}" for host in hosts if f"{host}:{port}" not in entries and host not in entries]
    if missing:
        lines += [
            "Callbacks reach private addresses only where .env allows it. Its line has to be:",
            f"  {colour('CALLBACK_ALLOW=' + ','.join([*entries, *missing]), 'yellow')}",
            "It is read at the start: make restart for the containers, make dev again.",
        ]
    return "\n".join(lines)
