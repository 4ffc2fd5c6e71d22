"""How values of settings are read: each function takes the text; its ValueError says what was expected."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from denzel.callback_addresses import CallbackPolicy


def number(minimum: float, maximum: float, kind: type = float) -> Callable[[str], float]:
    word = "a whole number" if kind is int else "a number"

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not minimum <= value <= maximum:
            least, most = (minimum, maximum) if kind is int else (f"{minimum:g}", f"{maximum:g}")
            raise ValueError(f"expected {word} from {least} to {most}")
        return value

    return parse


def choice(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in allowed:
            raise ValueError(f"expected one of: {', '.join(allowed)}")
        return text.lower()

    return parse


def url(*schemes: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        parts = urlsplit(text)
        if parts.scheme not in schemes or not (parts.hostname or parts.path):
            raise ValueError(f"expected a URL that starts with one of: {', '.join(f'{s}://' for s in schemes)}")
        return text

    return parse


def url_of_a_service(text: str) -> str:
    """Where a service is reached by HTTP, maybe below a path; empty: nowhere is named."""
    try:
        parts = urlsplit(text)
        CallbackPolicy(allow=parts.netloc)  # which also looks at the port
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and not set(text) & set("?#@,")
    except ValueError:
        good = False
    if text and not good:
        raise ValueError("expected a URL such as http://api:8000, without user, query and fragment")
    return text


def proxy(text: str) -> str:
    """An HTTP proxy, maybe with a user and a password; empty: none."""
    try:
        parts = urlsplit(text)
        good = parts.scheme == "http" and bool(parts.hostname) and parts.port != 0 and parts.path in ("", "/")
    except ValueError:
        good = False
    if text and not good:
        raise ValueError("expected an HTTP proxy such as http://proxy:3128 or http://user:password@proxy:3128")
    return text


def switch(text: str) -> bool:
    """1 or 0; on and off, yes and no, true and false mean the same."""
    if text.lower() in ("1", "on", "yes", "true"):
        return True
    if text.lower() in ("0", "off", "no", "false"):
        return False
    raise ValueError("expected 1 or 0")


def origins(text: str) -> str:
    """Origins of web pages as browsers send them, separated by commas; `*` is any."""
    origins = []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        expected = f"expected origins such as https://app.example.com or http://localhost:3000, or *, not {entry!r}"
        try:
            parts = urlsplit(entry.lower())
            host, port = (parts.hostname or "").encode("idna").decode(), parts.port
        except ValueError:  # UnicodeError is one
            raise ValueError(expected) from None
        if entry == "*":
            origins.append(entry)
        elif not re.fullmatch(r"[a-z][a-z0-9+.-]*", parts.scheme) or not re.fullmatch(r"[a-z0-9._:-]+", host):
            raise ValueError(expected)
        elif parts.path or parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError(f"{expected}: nothing may follow the host and its port")
        else:
            host = f"[{host}]" if ":" in host else host
            usual = port is None or (parts.scheme, port) in (("http", 80), ("https", 443))
            origins.append(f"{parts.scheme}://{host}" if usual else f"{parts.scheme}://{host}:{port}")
    return ",".join(origins)


def certificates(text: str) -> str:
    """The absolute path of a file of certificates (PEM); a relative one begins at the project's folder."""
    if not text:
        return text
    path = Path(__file__).resolve().parents[1] / text
    try:
        ssl.create_default_context(cafile=str(path))
    except ssl.SSLError:
        raise ValueError("this file holds no certificate (-----BEGIN CERTIFICATE-----)") from None
    except OSError as error:
        raise ValueError(f"this file cannot be read: {error.strerror} (containers have what lies in app/)") from None
    return str(path)


def identity(text: str) -> str:
    """What tells projects of one name apart; it stands in names at the broker."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{0,64}", text):
        raise ValueError("expected at most 64 letters, digits, - and _")
    return text


def folder(text: str) -> str:
    """The absolute path of a folder: user code may change the working directory later."""
    return str(Path(text).absolute())


def checked_by(check: Callable[[str], object]) -> Callable[[str], str]:
    """Text that `check` raises no ValueError for."""

    def parse(text: str) -> str:
        check(text)
        return text

    return parse


class Automatic(int):
    """A number that the service has found by itself, as the setting says auto."""


def number_or_auto(automatic: Callable[[], int], minimum: int = 1, maximum: int = 1024) -> Callable[[str], int]:
    """A whole number; auto: what the function finds."""

    def parse(text: str) -> int:
        if text.strip().lower() == "auto":
            return Automatic(automatic())
        try:
            return int(number(minimum, maximum, int)(text))
        except ValueError as error:
            raise ValueError(f"{error}, or auto") from None

    return parse
