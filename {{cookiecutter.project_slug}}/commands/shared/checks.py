"""What must be right wherever the services run; each check says what to do where it is not."""

from __future__ import annotations

import os
import re
import zoneinfo
from collections.abc import Mapping

from commands import shadowing
from commands.shared import client_key
from commands.shared.arguments import count, positive_number
from commands.shared.env import read_env
from commands.shared.package_index import index_is_right
from commands.shared.project import ROOT, CommandError
from denzel.listening import WITHOUT_KEYS, is_loopback
from denzel.settings import Settings, SettingsError


def folder_is_right() -> None:
    """The project's folder can be part of a list of folders, as PATH is one."""
    if os.pathsep in str(ROOT):
        raise CommandError(f"The folder {ROOT} has a {os.pathsep!r} in its path, which programs take apart: rename it.")


def no_package_is_shadowed() -> None:
    """No file of the folder has the name of a package in `.venv`."""
    for site_packages in (ROOT / ".venv").glob("lib/python*/site-packages"):
        for name in shadowing.shadowed_packages(site_packages):
            raise CommandError(shadowing.problem(name))


def settings_are_right(given: Mapping[str, str] | None = None) -> None:
    """The service and the commands accept the settings (of `.env`, unless given), as they would when they start."""
    settings = dict(read_env() if given is None else given)
    if given is None and settings.get("CALLBACK_CA", "").startswith("/"):
        del settings["CALLBACK_CA"]  # a path in the containers
    try:
        Settings.from_environment(settings)
    except SettingsError as error:
        raise CommandError(str(error)) from None
    if given is None:
        positive_number(settings.get("LAUNCH_TIMEOUT") or 600, "LAUNCH_TIMEOUT")
        count(settings.get("WORKERS") or 1, "WORKERS")
        index_is_right(settings)
    if not _is_time_zone(zone := settings.get("TZ") or "UTC"):
        raise CommandError(f"TZ is {zone!r}: there is no such time zone. Write it as Europe/Berlin; empty means UTC.")
    memory = settings.get("REDIS_MAXMEMORY") or "0"
    if not re.fullmatch(r"\d+([kmg]?b?)?", memory, re.ASCII | re.IGNORECASE):
        raise CommandError(f"REDIS_MAXMEMORY must be a number of bytes such as 512mb or 2gb, not {memory!r}.")


def keys_or_meant(name: str, host: str, given: Mapping[str, str] | None = None) -> None:
    """An address that others reach is one of an API that asks for keys, unless API_OPEN says that this is meant.

    Raises:
        CommandError: says what to do.
    """
    settings = read_env() if given is None else given
    is_open = (settings.get("API_OPEN") or "no").lower() == "yes"
    if not (is_loopback(host) or is_open or client_key.are_on()):
        raise CommandError(f"{name}={host}: {WITHOUT_KEYS.replace('set API_OPEN=yes.', 'set API_OPEN=yes in .env.')}")


def _is_time_zone(name: str) -> bool:
    """Whether a time zone is known here, by its name or as POSIX writes one (CET-1CEST); also where none is known."""
    if re.match(r"[A-Za-z]{3,}[+-]?\d|<[^>]+>[+-]?\d", name) or not zoneinfo.available_timezones():
        return True
    try:
        zoneinfo.ZoneInfo(name.removeprefix(":"))
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return False
    return True
