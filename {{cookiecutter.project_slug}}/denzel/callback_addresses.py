"""Where callbacks may go: the policy that CALLBACK_ALLOW and CALLBACK_PORTS describe.

A client names the callback's address, so the service must not become its way into the network behind.
Without an entry in CALLBACK_ALLOW only public addresses on the ports of CALLBACK_PORTS are reached. What
can be seen in the URI itself is refused when the request comes (`check_uri`, which resolves no names); the
address that a name leads to is judged when the connection is made (`refusal`), so a name server that
changes its mind in between helps nobody.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import urlsplit

MAX_URI_LENGTH = 2048
_EXAMPLE = "one such as https://example.com/inbox"

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Tables of our own, as `is_private` and `is_global` of the standard library differ between Python's versions.
_NOT_PUBLIC_4 = [
    (ipaddress.ip_network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "private"),  # carrier-grade NAT; metadata of Alibaba Cloud
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "cloud metadata"),  # Azure
        ("169.254.0.0/16", "link-local"),  # metadata of most clouds
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),  # metadata of Oracle Cloud
        ("192.0.2.0/24", "reserved"),
        ("192.88.99.0/24", "reserved"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "reserved"),
        ("198.51.100.0/24", "reserved"),
        ("203.0.113.0/24", "reserved"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
]
_PUBLIC_6 = IPv6Network("2000::/3")  # all that was ever handed out; what lies outside needs no list
_NOT_PUBLIC_6 = [
    (ipaddress.ip_network(network), kind)
    for network, kind in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("2001::/23", "reserved"),  # Teredo and other protocols' own
        ("2001:db8::/32", "reserved"),
        ("3fff::/20", "reserved"),
        ("fc00::/7", "private"),  # metadata of AWS and Google Cloud
        ("fe80::/10", "link-local"),
        ("fec0::/10", "private"),
        ("ff00::/8", "multicast"),
    )
]
# IPv6 networks that lead to an IPv4 address, and how far to the right of the address that one begins.
_EMBEDDING = [
    (IPv6Network("::ffff:0:0/96"), 0),  # IPv4-mapped
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64: how public IPv4 looks to a host that has IPv6 only
    (IPv6Network("2002::/16"), 80),  # 6to4
]
_MAPPED = _EMBEDDING[0][0]

_NEVER_IN_A_URI = re.compile(r"[\s\x00-\x20\x7f-\x9f\\]")
_HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
_DOTTED_QUAD = re.compile(r"(0|[1-9]\d{0,2})(\.(0|[1-9]\d{0,2})){3}", re.ASCII)
# The resolver takes 127.1, 2130706433, 0x7f.1 and 0177.0.0.1 for addresses; no real name ends like these.
_ENDS_LIKE_A_NUMBER = re.compile(r"(?:^|\.)(?:\d+|0x[0-9a-f]*)$", re.ASCII)


class CallbackUriError(ValueError):
    """A `callback_uri` that cannot be used; the message says why and, where possible, how to allow it."""


class PolicyError(ValueError):
    """CALLBACK_ALLOW or CALLBACK_PORTS cannot be read; the message names the entry and what is expected."""


@dataclass(frozen=True)
class _Entry:
    """One entry of CALLBACK_ALLOW: a host name or a network (an address is one, too), and maybe a port."""

    target: str | Network
    port: int | None

    def matches(self, host: str, address: Address | None, port: int) -> bool:
        if self.port not in (None, port):
            return False
        if isinstance(self.target, str):
            return self.target == host
        return address is not None and address in self.target


class CallbackPolicy:
    """Decides which URIs, and which addresses behind them, callbacks may be sent to.

    Args:
        allow: CALLBACK_ALLOW: entries such as `receiver`, `10.0.0.5`, `10.1.0.0/16:9000`, `[fd00::1]:9000`,
            separated by commas. An entry lifts the port limit, too; one with a port opens that port only.
        ports: CALLBACK_PORTS: the ports allowed elsewhere; empty means any.
        only: CALLBACK_ALLOW_ONLY: elsewhere nothing is allowed, public addresses neither.

    Raises:
        PolicyError: an entry cannot be read.
    """

    def __init__(self, allow: str = "", ports: str = "80,443,8080,8443", only: bool = False) -> None:
        self._only = only
        self._entries = [_parse_entry(text) for part in allow.split(",") if (text := part.strip())]
        self._ports = frozenset(_parse_ports(ports))

    def check_uri(self, uri: object) -> tuple[str, int]:
        """The host and the port of a URI that may be used as far as can be told without asking a name server.

        Raises:
            CallbackUriError: malformed, not http or https, or an address or a port that is not allowed.
        """
        if not isinstance(uri, str):
            raise CallbackUriError(f"callback_uri must be text, {_EXAMPLE}")
        host, port = _split(uri)
        address = _literal(host)
        if address is None and (host == "localhost" or host.endswith(".localhost")):
            address = IPv4Address("127.0.0.1")  # by definition (RFC 6761)
        if address is not None:
            if reason := self.refusal(host, str(address), port):
                raise CallbackUriError(f"callback_uri: {reason}")
        elif not self._may_allow(host, port):
            if self._only:
                raise CallbackUriError(f"callback_uri: {_not_listed(host, port)}")
            if self._ports and port not in self._ports:
                raise CallbackUriError(f"callback_uri: {self._port_refused(host, port)}")
        return host, port

    def permits(self, host: str, address: str, port: int) -> bool:
        """True if a callback to `host` may connect to `address` and `port`."""
        return self.refusal(host, address, port) is None

    def refusal(self, host: str, address: str, port: int) -> str | None:
        """Why a callback to `host` may not connect to `address` and `port`; None if it may."""
        host = host.lower().rstrip(".")
        try:
            found = _unmapped(ipaddress.ip_address(address.partition("%")[0]))
        except ValueError:
            return f'"{address}" is no address that can be judged'
        if any(entry.matches(host, found, port) for entry in self._entries):
            return None
        if self._only:
            leads = "" if _literal_or_none(host) == found else f" (it leads to {found})"
            return _not_listed(host or address, port) + leads
        if kind := _not_public(found):
            name = host or address
            leads = "" if _literal_or_none(host) == found else f" leads to {found}, which"
            own = found.is_loopback and (not leads or host == "localhost")
            here = "; in a container this is the container, and your machine is host.docker.internal" if own else ""
            return (
                f'"{name}"{leads} is not a public address ({kind}); '
                f'to allow it, add "{name}" to CALLBACK_ALLOW in .env{here}'
            )
        if self._ports and port not in self._ports:
            return self._port_refused(host, port)
        return None

    def _may_allow(self, host: str, port: int) -> bool:
        """True if an entry allows `host` and `port`, or might, once the name's address is known."""
        return any(
            entry.matches(host, None, port) or (not isinstance(entry.target, str) and entry.port in (None, port))
            for entry in self._entries
        )

    def _port_refused(self, host: str, port: int) -> str:
        ports = ", ".join(map(str, sorted(self._ports)))
        shown = f"[{host}]" if ":" in host else host
        return (
            f"port {port} is not allowed (only {ports}); "
            f'to allow it, add {port} to CALLBACK_PORTS or "{shown}:{port}" to CALLBACK_ALLOW in .env'
        )


def _not_listed(host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f'"{shown}:{port}" is not listed in CALLBACK_ALLOW in .env (CALLBACK_ALLOW_ONLY is on)'


@lru_cache(2048)  # the sender of callbacks looks at each URI twice, and often they are all the same
def _split(uri: str) -> tuple[str, int]:
    """The host (lower case, no brackets, no final dot) and the port of a well-formed http or https URI."""
    if len(uri) > MAX_URI_LENGTH:
        raise CallbackUriError(f"callback_uri is longer than {MAX_URI_LENGTH} characters")
    if _NEVER_IN_A_URI.search(uri):
        raise CallbackUriError("callback_uri must not contain spaces, control characters or backslashes")
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname or "", parts.port
        host = host if host.isascii() else host.encode("idna").decode("ascii").lower()
        uri.encode()  # a lone surrogate cannot be sent
    except ValueError:
        raise CallbackUriError(f"callback_uri is not a valid URI; expected {_EXAMPLE}") from None
    if parts.scheme not in ("http", "https"):
        raise CallbackUriError("callback_uri must start with http:// or https://")
    if "@" in parts.netloc:
        raise CallbackUriError("callback_uri must not contain a user name or a password")
    host = host.removesuffix(".")
    if port == 0 or not _well_formed(host) or ("[" in parts.netloc) != (":" in host):
        raise CallbackUriError(f"callback_uri has no valid host and port; expected {_EXAMPLE}")
    return host, port if port is not None else 443 if parts.scheme == "https" else 80


def _well_formed(host: str) -> bool:
    if ":" in host:
        return "%" not in host and _literal(host) is not None
    return len(host) <= 253 and _HOST_NAME.fullmatch(host) is not None


def _literal(host: str) -> Address | None:
    """The address that `host` spells out, None if it is a name.

    Raises:
        CallbackUriError: it is an address in an unusual spelling, such as 127.1 or 0x7f000001.
    """
    if ":" in host:
        return _literal_or_none(host)
    if not _ENDS_LIKE_A_NUMBER.search(host):
        return None
    address = _literal_or_none(host) if _DOTTED_QUAD.fullmatch(host) else None
    if address is None:
        raise CallbackUriError(f'callback_uri: "{host}" is no host name; write IPv4 addresses as four decimal numbers')
    return address


def _literal_or_none(host: str) -> Address | None:
    try:
        return _unmapped(ipaddress.ip_address(host))
    except ValueError:
        return None


def _unmapped(address: Address) -> Address:
    """`::ffff:10.0.0.5` is 10.0.0.5 on another kind of socket."""
    if isinstance(address, IPv6Address) and address in _MAPPED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _not_public(address: Address) -> str | None:
    """The kind of an address that is not public, such as `private`; None if it is public."""
    if isinstance(address, IPv4Address):
        return next((kind for network, kind in _NOT_PUBLIC_4 if address in network), None)
    for network, shift in _EMBEDDING:
        if address in network:
            return _not_public(IPv4Address(int(address) >> shift & 0xFFFFFFFF))
    known = next((kind for network, kind in _NOT_PUBLIC_6 if address in network), None)
    return known or (None if address in _PUBLIC_6 else "reserved")


def _parse_entry(text: str) -> _Entry:
    """Read one entry of CALLBACK_ALLOW."""
    expected = "expected a host, address or network, such as receiver, 10.0.0.5, 10.0.0.0/8 or [fd00::1]:9000"
    target, port = text.lower(), ""
    if target.startswith("["):
        target, bracket, port = target[1:].partition("]")
        if not bracket or ":" not in target or not (port == "" or port.startswith(":")):
            raise PolicyError(f'CALLBACK_ALLOW: cannot read "{text}"; {expected}')
        has_port, port = port != "", port[1:]
    elif target.count(":") == 1:
        (target, port), has_port = target.split(":"), True
    else:
        has_port = False
    if "//" in text:
        raise PolicyError(f'CALLBACK_ALLOW: "{text}" is a URI; write only its host, or host:port')
    number = _parse_port(port, f'CALLBACK_ALLOW: "{text}"') if has_port else None
    if "/" in target or ":" in target or _ENDS_LIKE_A_NUMBER.search(target):
        try:
            return _Entry(_parse_network(target), number)
        except ValueError as error:
            detail = f"{error}; " if "host bits" in str(error) else ""
            raise PolicyError(f'CALLBACK_ALLOW: cannot read "{text}"; {detail}{expected}') from None
    target = target.removesuffix(".")
    if not target.isascii():
        try:
            target = target.encode("idna").decode("ascii")
        except UnicodeError:
            target = ""
    if not _HOST_NAME.fullmatch(target):
        raise PolicyError(f'CALLBACK_ALLOW: cannot read "{text}"; {expected}')
    return _Entry(target, number)


def _parse_network(text: str) -> Network:
    network = ipaddress.ip_network(text)
    if isinstance(network, IPv6Network) and network.prefixlen >= 96 and network.subnet_of(_MAPPED):
        return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


def _parse_ports(text: str) -> list[int]:
    return [_parse_port(port, "CALLBACK_PORTS") for part in text.split(",") if (port := part.strip())]


def _parse_port(text: str, where: str) -> int:
    if not re.fullmatch(r"\d{1,5}", text, re.ASCII) or not 1 <= int(text) <= 65535:
        raise PolicyError(f'{where}: "{text}" is not a port; expected a whole number from 1 to 65535')
    return int(text)
