"""Where the API is reached, and by which names: of the standard library alone, as the commands use it too."""

from __future__ import annotations

import ipaddress
import re

_HOST = re.compile(r"\*|(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*")


def is_loopback(address: str) -> bool:
    """Whether nobody but its own machine reaches what listens there; of a name only `localhost` is known to be so."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def addresses(listens_on: str, bind: str) -> list[str]:
    """The addresses by which the API is reached.

    Args:
        listens_on: the addresses, separated by commas; empty: that of `bind`, HOST:PORT or unix:PATH.
    """
    if not listens_on and bind.startswith("unix:"):
        return ["localhost"]
    return [address.strip().strip("[]") for address in (listens_on or bind.rpartition(":")[0]).split(",")]


def parse_hosts(text: str) -> str:
    """Names and addresses by which the service may be asked for, separated by commas; `*` is any.

    Raises:
        ValueError: names what cannot be one.
    """
    hosts = []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        try:
            host = str(ipaddress.ip_address(entry.strip("[]")))
        except ValueError:
            try:
                host = entry.lower().encode("idna").decode() if "*" not in entry else entry.lower()
            except UnicodeError:
                host = ""
            if not _HOST.fullmatch(host):
                raise ValueError(
                    f"expected hosts such as ml.example.com, 10.0.0.5, *.example.com or *, without ports, not {entry!r}"
                ) from None
        hosts.append(host)
    return ",".join(hosts)
