"""Sends one callback: an HTTP POST, signed, to an address that is allowed, with a bound on everything.

Clients read in /status what became of it: that tells nothing of the network behind, no address that a name leads to and
no text of an unknown server; the log does.

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
from denzel.signing import read_secrets, signatures

# A receiver's answer is read up to this size, so that its connection can be used again.
_MAX_ANSWER = 65_536
# A larger body is handed to aiohttp as a file, which it sends piece by piece.
_LARGE_BODY = 1 << 20
# Names are resolved by this many threads: as many slow name servers delay nobody else.
_RESOLVER_THREADS = 128
_STALE_CONNECTIONS = 3
# Seconds for which a name is looked up that the proxy is going to look up again.
_MAY_RESOLVE = 2.0
NOT_ALLOWED = "address not allowed"


@dataclass(frozen=True)
class Attempt:
    """What came of one attempt.

    Attributes:
        status: the receiver's HTTP status; None when it gave no answer.
        error: what went wrong, in words that clients may read; None when the receiver took the callback.
        detail: the same for the log, where it has more to say; empty where not.
        retry_after: when the receiver wants the next attempt, in seconds.
        refused: the address is not allowed or not usable: another attempt would end the same way.
        seconds: how long it took.
    """

    status: int | None = None
    error: str | None = None
    retry_after: float | None = None
    refused: bool = False
    seconds: float = 0.0
    detail: str = ""

    @property
    def logged(self) -> str | None:
        """What went wrong, for the log."""
        return self.detail or self.error


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
        proxy: that callbacks leave through (a URL); empty: none.
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
        proxy: str = "",
    ) -> None:
        self._policy = policy
        self._keys = read_secrets(secret)
        self._proxy = proxy or None
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
            trust_env=False,  # only a proxy that is named for callbacks: it connects to addresses unseen
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
        status, retry_after, refused, detail = None, None, False, ""
        try:
            host, port = self._policy.check_uri(uri)
            if self._proxy:
                await self._judge(host, port)
            url = URL(uri, encoded=uri.isascii())
            connecting.host = url.raw_host or ""
            status, retry_after = await self._post(url, {**headers, **self._headers(task_id, body)}, body, connecting)
            error = _verdict(status)
        except CallbackUriError as problem:
            error, detail, refused = NOT_ALLOWED, f"{NOT_ALLOWED}: {problem}", True
        except aiohttp.InvalidURL as problem:
            error, refused = str(problem), True
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError) as problem:
            refused = connecting.refusal is not None and not connecting.opened
            if refused:
                error, detail = NOT_ALLOWED, f"{NOT_ALLOWED}: {connecting.refusal}"
            else:
                error = self._describe(problem)
                told = self._proxy or str(problem) in error  # what is said of a proxy may have its password
                detail = "" if told else f"{error} ({problem})"
        finally:
            _connecting.reset(token)
        error, detail = (" ".join(text.split())[:300] if text else "" for text in (error, detail))
        return Attempt(status, error or None, retry_after, refused, time.monotonic() - began, detail)

    async def _judge(self, host: str, port: int) -> None:
        """Refuse a name that leads to an address which is not allowed; what cannot be resolved here the proxy judges.

        Raises:
            CallbackUriError: it does.
        """
        try:
            found = await asyncio.wait_for(self._resolver.resolve(host, port, socket.AF_UNSPEC), _MAY_RESOLVE)
        except (OSError, asyncio.TimeoutError, UnicodeError):
            return
        for address in found:
            if refusal := self._policy.refusal(host, address["host"], port):
                raise CallbackUriError(refusal)

    def _headers(self, task_id: str, body: bytes) -> dict[str, str]:
        timestamp = str(int(time.time()))
        headers = {"webhook-id": task_id, "webhook-timestamp": timestamp}
        if self._keys:
            headers["webhook-signature"] = signatures(self._keys, task_id, timestamp, body)
        return headers

    async def _post(
        self, url: URL, headers: dict[str, str], body: bytes, connecting: _Connecting
    ) -> tuple[int, float | None]:
        """The status and Retry-After of the answer."""
        for last in (*[False] * _STALE_CONNECTIONS, True):
            data: Any = body if len(body) <= _LARGE_BODY else io.BytesIO(body)
            try:
                async with self._session.post(
                    url, data=data, headers=headers, allow_redirects=False, proxy=self._proxy
                ) as response:
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
        refusal = None if self._proxy else self._policy.refusal(connecting.host, address[0], address[1])
        if refusal:
            connecting.refusal = refusal
            raise OSError(refusal)
        connecting.opened = True
        return socket.socket(family, kind, protocol)

    def _describe(self, problem: BaseException) -> str:
        if isinstance(problem, asyncio.TimeoutError):
            return f"no answer within {self._timeout:g} s"
        if isinstance(problem, aiohttp.ClientHttpProxyError):
            return f"the proxy refused the connection (HTTP {problem.status})"
        if isinstance(problem, aiohttp.ClientProxyConnectionError):
            return "the proxy cannot be reached"
        if isinstance(problem, aiohttp.ClientConnectorDNSError):
            return f"the host's name cannot be resolved: {problem.os_error.strerror or problem.os_error}"
        if isinstance(problem, aiohttp.ClientConnectorCertificateError):
            return f"no secure connection: {problem} (CALLBACK_CA in .env names certificates to trust)"
        if isinstance(problem, aiohttp.ClientSSLError):
            return f"no secure connection: {problem}"
        if isinstance(problem, aiohttp.ClientConnectorError):
            number = problem.os_error.errno
            return f"no connection: {os.strerror(number)}" if number else "no connection"
        if isinstance(problem, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError):
            return "the receiver closed the connection without an answer"
        return f"no answer that can be used ({type(problem).__name__})"


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
