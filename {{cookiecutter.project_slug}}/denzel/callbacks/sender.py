"""Sends one callback: an HTTP POST, signed, to an address that is allowed, with a bound on everything.

Signatures follow the Standard Webhooks specification (https://www.standardwebhooks.com): whoever holds
CALLBACK_SECRET can check them with any of its libraries.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import socket
import ssl
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timezone
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from denzel.callback_addresses import CallbackPolicy, CallbackUriError
from denzel.signing import read_secret, signature

# A receiver's answer is read up to this size, so that its connection can be used again.
_MAX_ANSWER = 65_536
# A larger body is handed to aiohttp as a file, which it sends piece by piece.
_LARGE_BODY = 1 << 20
# Names are resolved by this many threads: as many slow name servers delay nobody else.
_RESOLVER_THREADS = 128
_STALE_CONNECTIONS = 3


@dataclass(frozen=True)
class Attempt:
    """What came of one attempt.

    Attributes:
        status: the receiver's HTTP status; None when it gave no answer.
        error: what went wrong, in words; None when the receiver took the callback.
        retry_after: when the receiver wants the next attempt, in seconds.
        refused: the address is not allowed or not usable: another attempt would end the same way.
        seconds: how long it took.
    """

    status: int | None = None
    error: str | None = None
    retry_after: float | None = None
    refused: bool = False
    seconds: float = 0.0


@dataclass
class _Connecting:
    """What an attempt connects to, kept where `_checked_socket` finds it."""

    host: str = ""
    refusal: str | None = None
    opened: bool = False


_connecting: ContextVar[_Connecting] = ContextVar("connecting")


class Sender:
    """Sends callbacks, over connections that are kept and used again. It is an asynchronous context manager.

    Args:
        policy: judges each URI, and each address when it is connected to.
        secret: CALLBACK_SECRET; empty: callbacks are not signed.
        timeout: the seconds that one attempt may take.
        ca: the path of certificates (PEM) that are trusted beside the system's; empty: none.
        resolver: turns names into addresses, if not the system.

    Raises:
        ValueError: the secret cannot be read.
        OSError: the certificates cannot be read.
    """

    def __init__(
        self,
        policy: CallbackPolicy,
        secret: str = "",
        timeout: float = 15.0,
        resolver: AbstractResolver | None = None,
        ca: str = "",
    ) -> None:
        self._policy = policy
        self._key = read_secret(secret)
        self._timeout = timeout
        self._resolver = resolver or _SystemResolver()
        self._tls = ssl.create_default_context()
        self._tls.set_alpn_protocols(["http/1.1"])
        if ca:
            self._tls.load_verify_locations(ca)

    async def __aenter__(self) -> Sender:
        self._session = aiohttp.ClientSession(
            # Each connection's address, of a name or written in the URI, goes through the socket factory.
            connector=aiohttp.TCPConnector(
                limit=0, resolver=self._resolver, socket_factory=self._checked_socket, ssl=self._tls
            ),
            timeout=aiohttp.ClientTimeout(total=self._timeout),
            headers={"User-Agent": "denzel", "Content-Type": "application/json"},
            skip_auto_headers=("Accept", "Accept-Encoding"),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,  # a proxy would connect to addresses unseen
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        await self._resolver.close()

    async def send(
        self, task_id: str, uri: str, body: bytes, headers: Mapping[str, str] = MappingProxyType({})
    ) -> Attempt:
        """POST the body once. Whatever the receiver does, this tells what came of it and does not raise.

        Args:
            headers: besides those of the signature.
        """
        began = time.monotonic()
        connecting = _Connecting()
        token = _connecting.set(connecting)
        status, retry_after, refused = None, None, False
        try:
            self._policy.check_uri(uri)
            url = URL(uri, encoded=uri.isascii())
            connecting.host = url.raw_host or ""
            status, retry_after = await self._post(url, {**headers, **self._headers(task_id, body)}, body, connecting)
            error = _verdict(status)
        except (CallbackUriError, aiohttp.InvalidURL) as problem:
            error, refused = str(problem), True
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError) as problem:
            refused = connecting.refusal is not None and not connecting.opened
            error = connecting.refusal if refused else self._describe(problem)
        finally:
            _connecting.reset(token)
        error = " ".join(error.split())[:300] if error else None
        return Attempt(status, error, retry_after, refused, time.monotonic() - began)

    def _headers(self, task_id: str, body: bytes) -> dict[str, str]:
        timestamp = str(int(time.time()))
        headers = {"webhook-id": task_id, "webhook-timestamp": timestamp}
        if self._key:
            headers["webhook-signature"] = signature(self._key, task_id, timestamp, body)
        return headers

    async def _post(
        self, url: URL, headers: dict[str, str], body: bytes, connecting: _Connecting
    ) -> tuple[int, float | None]:
        """The status and Retry-After of the answer."""
        for last in (*[False] * _STALE_CONNECTIONS, True):
            data: Any = body if len(body) <= _LARGE_BODY else io.BytesIO(body)
            try:
                async with self._session.post(url, data=data, headers=headers, allow_redirects=False) as response:
                    await _read_away(response)
                    return response.status, parse_retry_after(response.headers.get("Retry-After"))
            except aiohttp.ClientConnectorError:
                raise
            except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
                # A kept connection may have been closed by the receiver just when it was used again.
                if last or connecting.opened:
                    raise
        raise AssertionError("not reached")

    def _checked_socket(self, address_info: tuple) -> socket.socket:
        """The socket for a connection; refuses to make one for an address that is not allowed."""
        family, kind, protocol, _, address = address_info
        connecting = _connecting.get()
        refusal = self._policy.refusal(connecting.host, address[0], address[1])
        if refusal:
            connecting.refusal = refusal
            raise OSError(refusal)
        connecting.opened = True
        return socket.socket(family, kind, protocol)

    def _describe(self, problem: BaseException) -> str:
        if isinstance(problem, asyncio.TimeoutError):
            return f"no answer within {self._timeout:g} s"
        if isinstance(problem, aiohttp.ClientConnectorDNSError):
            return f"the host's name cannot be resolved: {problem.os_error.strerror or problem.os_error}"
        if isinstance(problem, aiohttp.ClientConnectorCertificateError):
            return f"no secure connection: {problem} (CALLBACK_CA in .env names certificates to trust)"
        if isinstance(problem, aiohttp.ClientSSLError):
            return f"no secure connection: {problem}"
        if isinstance(problem, aiohttp.ClientConnectorError):
            number = problem.os_error.errno
            return f"no connection: {os.strerror(number) if number else problem.os_error}"
        if isinstance(problem, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError):
            return "the receiver closed the connection without an answer"
        return f"{type(problem).__name__}: {problem}"


class _SystemResolver(AbstractResolver):
    """`getaddrinfo` in threads of its own, so that slow name servers hold up nothing else in the process."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_RESOLVER_THREADS, thread_name_prefix="resolver")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, socket.getaddrinfo, host, port, family, socket.SOCK_STREAM)
        return [
            ResolveResult(hostname=host, host=str(address[0]), port=port, family=family, proto=protocol, flags=0)
            for family, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


async def _read_away(response: aiohttp.ClientResponse) -> None:
    """Read the answer's body, up to a bound; what it says does not matter, its status has come."""
    left = _MAX_ANSWER
    try:
        while left > 0 and (chunk := await response.content.read(left)):
            left -= len(chunk)
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
        left = 0
    if left <= 0:
        response.close()


def _verdict(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"HTTP {status}: redirects are not followed"
    if status == 410:
        return "HTTP 410: the receiver wants no more"
    return f"HTTP {status}"


def parse_retry_after(text: str | None) -> float | None:
    """The seconds that a Retry-After header asks to wait, be it a number or a date; None if it is neither."""
    if not text:
        return None
    if re.fullmatch(r"\d{1,9}", text.strip(), re.ASCII):
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, date.replace(tzinfo=date.tzinfo or timezone.utc).timestamp() - time.time())
