"""Ports of this machine, and the URLs of what listens on them."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from pathlib import Path
from urllib.parse import quote

from commands.shared.project import CommandError


def port_taken(host: str, port: int) -> bool:
    """Whether something listens on the port already; tried by binding it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise CommandError(f"{host} is not an address of this machine.") from None
            # a port below 1024 that only root may bind is no obstacle for Docker
            if error.errno != errno.EACCES:
                return True
    with socket.socket(family, socket.SOCK_STREAM) as client:
        # some systems let two sockets bind the same port; nobody can share a listener
        client.settimeout(0.5)
        return client.connect_ex((reachable(host), port)) == 0


def listener(port: int) -> str:
    """What listens on a port of this machine, for a message: its program and folder; empty where that is not seen."""
    sockets = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == "0A" and int(words[1].rpartition(":")[2], 16) == port:
                    sockets.add(f"socket:[{words[9]}]")
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(os.readlink(descriptor) in sockets for descriptor in (process / "fd").iterdir()):
                name = (process / "comm").read_text().strip()
                return f"{name} (pid {process.name}) in {os.readlink(process / 'cwd')}"
    return ""


def reachable(host: str) -> str:
    """The address under which this machine reaches a service that listens on ``host``."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def url(host: str, port: int | str) -> str:
    """The http URL of a service that listens there, as this machine reaches it."""
    name = reachable(host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def redis_url(port: int, password: str) -> str:
    """The REDIS_URL of a server of this machine."""
    return f"redis://:{quote(password, safe='')}@127.0.0.1:{port}/0"
