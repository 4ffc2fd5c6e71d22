"""What the user gave a command or wrote into ``.env``: words taken apart, values checked and converted.

Each function that takes a value and its name refuses a wrong one by a CommandError that has the name.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from commands.shared.project import CommandError

_YES = {"1", "true", "yes", "y", "on"}
_NO = {"", "0", "false", "no", "n", "off"}


def parse_arguments(argv: list[str], allowed: dict[str, Any]) -> dict[str, Any]:
    """The values of ``VARIABLE=value`` words over their defaults; an empty value means the default."""
    values = dict(allowed)
    for word in argv:
        name, equals, value = word.partition("=")
        if not equals or name not in allowed:
            takes = f"it takes {', '.join(allowed)}" if allowed else "it takes none"
            raise CommandError(f"This command does not know the variable {name}: {takes}.")
        if value.strip():
            values[name] = value.strip()
    return values


def port(value: object, name: str) -> int:
    """A TCP port number."""
    text = str(value)
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise CommandError(f"{name} must be a port number from 1 to 65535, not {text!r}.")
    return int(text)


def choice(value: object, name: str, allowed: list[str] | tuple[str, ...]) -> str:
    """One of the allowed words."""
    if value not in allowed:
        raise CommandError(f"{name} must be one of {', '.join(allowed)}, not {str(value)!r}.")
    return str(value)


def switch(value: object, name: str) -> bool:
    """1 or 0, or a word that means the same."""
    text = str(value).lower()
    if text not in _YES | _NO:
        raise CommandError(f"{name} must be 1 or 0, not {str(value)!r}.")
    return text in _YES


def positive_number(value: object, name: str) -> float:
    """A finite number above zero."""
    try:
        number = float(str(value))
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise CommandError(f"{name} must be a number greater than 0, not {str(value)!r}.")
    return number


def count(value: object, name: str) -> int:
    """A whole number from 1 to 100."""
    text = str(value)
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 100:
        raise CommandError(f"{name} must be a whole number from 1 to 100, not {text!r}.")
    return int(text)


def address(value: object, name: str) -> str:
    """An IP address of this machine to listen on."""
    try:
        return str(ipaddress.ip_address(str(value).strip("[]")))
    except ValueError:
        raise CommandError(
            f"{name} must be an IP address such as 127.0.0.1 (this machine only) or 0.0.0.0 (every network), "
            f"not {str(value)!r}."
        ) from None
