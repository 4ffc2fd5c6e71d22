"""The names by which the service may be asked for, so that no web page reaches it under a name of its own.

A page's script may only talk to the host that the page came from. Whoever owns a name can let it point to 127.0.0.1
after the page has loaded (DNS rebinding): then browsers take a service of the reader's own machine for that host. Such
a request still names the foreign host, and is refused by that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# What a service that only its own machine reaches is called there, and in containers of that machine.
OF_THIS_MACHINE = ("localhost", "127.0.0.1", "::1", "host.docker.internal")
# Known values of the header that are kept: a client may put any port behind a name.
_MOST_KNOWN = 1000
_PORT = re.compile(r":\d{0,5}\Z")


class Hosts:
    """Which values of the header `Host` are let in.

    Attributes:
        any: all of them.
        known: some that are let in, as they came; a request that names one of these alone needs no further look.

    Args:
        named: ALLOWED_HOSTS as the settings hold it; `*` is any, `*.example.com` what is below that name.
        on_loopback: whether the service listens on its own machine alone.
        own: further names and addresses that are the service's.
    """

    def __init__(self, named: str, on_loopback: bool, own: Iterable[str] = ()) -> None:
        entries = set(filter(None, named.split(",")))
        self.any = "*" in entries or not (entries or on_loopback)
        self.known: set[bytes | None] = set()
        self._names = {entry for entry in entries if not entry.startswith("*")} | {*OF_THIS_MACHINE, *filter(None, own)}
        self._below = tuple(entry[1:] for entry in entries if entry.startswith("*."))

    def refused(self, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """The host that a request with a proper head names and that is not let in; None where it may pass.

        Without the header (HTTP/1.0) it may: no browser sends such a request.
        """
        for name, value in headers:
            if name == b"host" and value not in self.known:
                if not (self.any or self._is_let_in(_host(value))):
                    return _host(value)
                if len(self.known) >= _MOST_KNOWN:
                    self.known.clear()
                self.known.add(value)
        return None

    def _is_let_in(self, host: str) -> bool:
        return host in self._names or host.endswith(self._below)


def _host(value: bytes) -> str:
    """The host of such a header in lower case, without its port and the brackets of an IPv6 address."""
    host = _PORT.sub("", value.decode("latin-1").strip().lower())
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host
