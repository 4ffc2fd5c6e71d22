"""`make receiver`: a callback inbox on this machine that prints each callback as it arrives."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time

from commands.shared.arguments import parse_arguments, port
from commands.shared.env import read_env
from commands.shared.http import pretty, printable
from commands.shared.inbox import LOOPBACK, Arrival, receiving
from commands.shared.screen import colour, say

DEFAULT_PORT = 9000
# How containers call this machine (extra_hosts in docker-compose.yml).
FROM_CONTAINERS = "host.docker.internal"
_TELLING = ("Content-Type", "User-Agent", "Webhook-Id", "Webhook-Timestamp", "Webhook-Signature")


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


def shown(arrival: Arrival) -> str:
    """An arrival for a terminal: when, the headers that matter, what the signature is worth, the body."""
    when = time.strftime("%H:%M:%S", time.localtime(arrival.at))
    lines = [colour(f"\n{when}  POST {printable(arrival.path)}", "green")]
    lines += [f"{name}: {printable(arrival.headers[name])}" for name in _TELLING if name in arrival.headers]
    return "\n".join([*lines, f"(signature: {arrival.signature})", pretty(arrival.body)])


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
