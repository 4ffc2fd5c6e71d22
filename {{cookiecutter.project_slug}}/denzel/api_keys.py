"""The keys that clients send, of which only hashes are kept: in API_KEYS, and in a file that is read while it changes.

A key is 32 random bytes, so that one SHA-256 of it is as good as a slow hash would be. Keys of one name belong to one
client: whoever has several, for as long as the old one is being replaced, has one set of tasks. Of the standard library
alone, as the commands use it too.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

PREFIX = "denzel_"
# Seconds after which an edit of the file holds in every process that is asked.
HOLDS_AFTER = 0.5
_MOST_SENT = 10_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True)
class Key:
    """A key as it is kept.

    Attributes:
        name: of the client that has it.
        digest: its SHA-256, in hexadecimal.
        made: the day, as 2026-01-31; empty: not told.
    """

    name: str
    digest: str
    made: str = ""


def new_key() -> str:
    """A new one, as its client sends it."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(key: bytes) -> bytes:
    """What is kept of a key."""
    return sha256(key).digest()


def usable_name(name: str) -> str:
    """The same.

    Raises:
        ValueError: it is none.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"a key's name has up to 64 letters, digits, dots, dashes, underscores and @, and begins with a letter or "
            f"a digit; it is not {name[:80]!r}"
        )
    return name


def of_setting(text: str) -> list[Key]:
    """The keys of API_KEYS: NAME:SHA256, separated by commas.

    Raises:
        ValueError: it cannot be read; what stands there is not repeated, as it may be a key.
    """
    found = []
    for number, entry in enumerate(filter(None, (part.strip() for part in text.split(","))), 1):
        name, _, hashed = entry.partition(":")
        if not _DIGEST.fullmatch(hashed.strip().lower()):
            raise ValueError(
                f"entry {number} is not NAME:SHA256 (64 hexadecimal digits): make key NAME=... makes a key"
            )
        found.append(Key(usable_name(name.strip()), hashed.strip().lower()))
    return found


def of_file(text: str) -> list[Key]:
    """The keys of the file: a line for each, NAME SHA256 DAY; what follows a # is a comment.

    Raises:
        ValueError: names the line that cannot be read.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) not in (2, 3) or not _DIGEST.fullmatch(words[1]):
            raise ValueError(f"line {number} is not NAME SHA256 DAY")
        found.append(Key(usable_name(words[0]), words[1], *words[2:]))
    return found


def to_text(keys: list[Key]) -> str:
    """What the file says."""
    head = "# The keys of the API: name, SHA-256, day. Made and taken back by make key; read while the service runs.\n"
    return head + "".join(f"{key.name} {key.digest} {key.made}".rstrip() + "\n" for key in keys)


class Keys:
    """The keys of a service, as a process of it asks for them. They are asked for where there is one, or was.

    Attributes:
        problem: why the file as it is now cannot be read; the keys of before hold. Empty: it can, or there is none.

    Args:
        setting: API_KEYS.
        file: its path; empty: there is none.

    Raises:
        ValueError: one of them cannot be read.
    """

    def __init__(self, setting: str, file: str) -> None:
        self.problem = ""
        self._setting = {bytes.fromhex(key.digest): key.name for key in of_setting(setting)}
        self._names = self._setting
        self._sent: dict[bytes, str] = {}  # what was sent of late and is right; in memory alone
        self._file = file
        self._seen: tuple[int, ...] | None = None
        self._next = 0.0
        self._are_on = bool(self._setting)
        self._look()
        if self.problem:
            raise ValueError(self.problem)

    @property
    def are_on(self) -> bool:
        """Whether a request has to bring one."""
        self._look_again()
        return self._are_on

    def owner(self, headers: Mapping[bytes, bytes]) -> str | None:
        """The name of the key that a request brings; None: it brings none, or a wrong one. Empty: none is asked for."""
        self._look_again()
        if not self._are_on:
            return ""
        given = key = headers.get(b"x-api-key")
        if given is None:
            given = headers.get(b"authorization", b"")
        name = self._sent.get(given)
        if name is not None:
            return name
        if key is None:
            scheme, _, key = given.partition(b" ")
            if scheme.lower() != b"bearer":
                return None
        name = self._named(sha256(key.strip()).digest())
        if name is not None:
            if len(self._sent) >= _MOST_SENT:
                self._sent.clear()
            self._sent[given] = name
        return name

    def _named(self, hashed: bytes) -> str | None:
        """The name of the key with this hash."""
        name = self._names.get(hashed)
        if name is None:  # it may have been made just now
            self._look()
            name = self._names.get(hashed)
        return name

    def _look_again(self) -> None:
        if time.monotonic() >= self._next:
            self._look()

    def _look(self) -> None:
        """Read the file if it has changed."""
        self._next = time.monotonic() + HOLDS_AFTER
        if not self._file:
            return
        try:
            found = os.stat(self._file)
            seen = (found.st_mtime_ns, found.st_ino, found.st_size)
            if seen == self._seen:
                return
            with open(self._file, encoding="utf-8") as file:
                keys = of_file(file.read())
        except FileNotFoundError:
            if self._seen is not None:  # taken away: that opens nothing
                self._seen, self._names = None, self._setting
                self._sent.clear()
            return
        except OSError as error:
            self.problem = f"{self._file} cannot be read: {error.strerror}"
            self._are_on = True
            return
        except ValueError as error:  # an encoding's, too
            self.problem, self._seen, self._are_on = f"{self._file}: {error}", seen, True
            return
        self.problem, self._seen, self._are_on = "", seen, True
        self._sent.clear()
        self._names = {**self._setting, **{bytes.fromhex(key.digest): key.name for key in keys}}
