"""What a Redis holds at one moment, as it tells it to a replica; and a single command to a Redis."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator
from typing import BinaryIO, cast
from urllib.parse import unquote, urlsplit

from commands.shared.project import CommandError

CHUNK = 1 << 20  # bytes that are passed on at once
_MARK = 40  # bytes of the mark behind the data
_PATIENCE = 60.0  # seconds without a byte
_WRITER = re.compile(rb"\xfa[\x09\x0a](redis|valkey)-ver[\x01-\x20]([0-9][0-9.]*)")


def of_server(url: str) -> Iterator[bytes]:
    """The data of a Redis, all of one moment; it goes on serving meanwhile.

    Raises:
        CommandError: it refuses, or breaks off.
    """
    with _connected(url) as stream:
        for words in (("REPLCONF", "capa", "eof"), ("REPLCONF", "rdb-only", "1")):  # the second one is not known to 6.2
            _send(stream, words)
            stream.readline()
        _send(stream, ("SYNC",))
        head = b""
        while head in (b"", b"\n"):  # signs of life, until it begins
            head = stream.readline()
            if not head:
                raise CommandError("Redis broke off before it sent its data.")
        if head.startswith(b"$EOF:"):
            yield from until_mark(iter(lambda: stream.read1(CHUNK), b""), head[5:].rstrip())  # type: ignore[attr-defined]
        elif head.startswith(b"$"):
            yield from _counted(stream, int(head[1:]))
        else:
            raise CommandError(f"Redis does not give its data: {head.decode(errors='replace').strip().lstrip('-')}")


def until_mark(chunks: Iterable[bytes], mark: bytes = b"") -> Iterator[bytes]:
    """The data without the mark behind them, which ends them; where none is given, it is their last 40 bytes."""
    rest = b""
    for chunk in chunks:
        rest += chunk
        if mark and rest.endswith(mark):
            break
        yield rest[:-_MARK]
        rest = rest[-_MARK:]
    if len(rest) < _MARK or (mark and not rest.endswith(mark)):
        raise CommandError("Redis broke off while it sent its data.")
    yield rest[:-_MARK]


def call(url: str, *words: str) -> str:
    """Redis' answer to a command, if that is a line or a text.

    Raises:
        CommandError: it refuses.
    """
    with _connected(url) as stream:
        _send(stream, words)
        answer = stream.readline().decode(errors="replace").strip()
        if answer.startswith("-") or not answer:
            raise CommandError(f"Redis refuses: {answer.lstrip('-') or 'it broke off'}")
        return stream.read(int(answer[1:])).decode(errors="replace") if answer.startswith("$") else answer[1:]


def writer(head: bytes) -> str:
    """Which server has written the data that begin like this, as "Redis 8.0.2"."""
    found = _WRITER.search(head[:200])
    if not head.startswith((b"REDIS", b"VALKEY")) or not found:
        raise CommandError("These are not the data of a Redis.")
    return f"{found[1].decode().capitalize()} {found[2].decode()}"


def _connected(url: str) -> BinaryIO:
    parts = urlsplit(url)
    try:
        connection = socket.create_connection((parts.hostname or "", parts.port or 6379), timeout=_PATIENCE)
    except OSError as error:
        raise CommandError(f"Redis does not answer: {error}") from None
    stream = cast("BinaryIO", connection.makefile("rwb"))
    connection.close()  # the stream keeps it
    _send(stream, ("AUTH", *filter(None, [unquote(parts.username or ""), unquote(parts.password or "")])))
    answer = stream.readline()
    if answer != b"+OK\r\n":
        stream.close()
        raise CommandError(f"Redis refuses: {answer.decode(errors='replace').strip().lstrip('-')}")
    return stream


def _send(stream: BinaryIO, words: Iterable[str]) -> None:
    encoded = [word.encode() for word in words]
    stream.write(b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded))
    stream.flush()


def _counted(stream: BinaryIO, count: int) -> Iterator[bytes]:
    while count:
        chunk = stream.read(min(CHUNK, count))
        if not chunk:
            raise CommandError("Redis broke off while it sent its data.")
        count -= len(chunk)
        yield chunk
