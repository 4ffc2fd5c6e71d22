"""Where the API is reached, by which names, and what is open there. Of the standard library alone, for the commands."""

from __future__ import annotations

import ipaddress
import re

_HOST = re.compile(r"\*|(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*")

# What may be told without a key, where there are keys.
MAY_BE_OPEN = ("/", "/docs", "/openapi.json", "/metrics", "/ready", "/info")
WITHOUT_KEYS = (
    "Others than this machine could use the API, as it has no keys. Make one: make key NAME=yours (or set API_KEYS). "
    "To let everybody use it who reaches it, set API_OPEN=yes."
)


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


def parse_rates(text: str) -> str:
    """Numbers of requests in a time, separated by commas."""
    rates = [part.strip().lower() for part in text.split(",") if part.strip()]
    if wrong := [rate for rate in rates if not re.fullmatch(r"[1-9]\d{0,8}\s*/\s*(second|minute|hour|day)", rate)]:
        raise ValueError(f"expected limits such as 10/second or 10/second,5000/day, not {wrong[0]!r}")
    return ",".join(rates)


def parse_paths(text: str) -> str:
    """Paths that ask for no key, separated by commas."""
    paths = [part.strip() for part in text.split(",") if part.strip()]
    if wrong := [path for path in paths if path not in MAY_BE_OPEN]:
        raise ValueError(f"expected some of {', '.join(MAY_BE_OPEN)}, not {wrong[0]!r}")
    return ",".join(paths)
