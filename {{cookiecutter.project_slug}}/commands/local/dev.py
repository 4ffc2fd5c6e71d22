"""`make dev`: the four services of the Procfile as plain processes of this machine, with one log.

What is guaranteed:
- Ctrl-C, SIGTERM to make or a closed terminal stop everything within 5 seconds; nothing survives, not even
  when this process is killed with -9 (commands/local/processes.py).
- A service that dies is reported with its last lines and started again, after 1 second, doubling to 30, as
  its container would be. Only a Redis that never comes up ends `make dev`.
- A terminal that does not read (Ctrl-S) never holds up the services: lines are left out instead.
- `.denzel/dev.json` says where everything is while it runs; `.denzel/dev.log` holds the log, at most twice
  LOG_BYTES with its predecessor `.denzel/dev.log.1`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
from collections.abc import Iterator
from typing import IO, Any

from commands.local import processes
from commands.local.dev_redis import choose_redis
from commands.local.dev_services import Dev
from commands.local.install import ensure_installed
from commands.shared import checks, client_key
from commands.shared.arguments import address, parse_arguments, port
from commands.shared.docker import containers
from commands.shared.env import read_env, shell_environment
from commands.shared.ownership import require_own_files
from commands.shared.ports import port_taken
from commands.shared.project import MARKERS, CommandError
from commands.shared.running import running_dev
from commands.shared.screen import warn
from commands.shared.waiting import wait_for
from denzel.listening import is_loopback


def run(arguments: list[str]) -> int:
    """Serve until a signal; the exit code is 0 when it was stopped and 1 when it could not serve."""
    options = parse_arguments(arguments, {"API_PORT": "", "MONITOR_PORT": ""})
    checks.folder_is_right()
    require_own_files()
    settings = _settings()
    checks.settings_are_right(settings)
    host = address(settings.get("API_HOST") or "127.0.0.1", "API_HOST")
    ports = {
        "API_PORT": port(options["API_PORT"] or settings.get("API_PORT") or 8000, "API_PORT"),
        "MONITOR_PORT": port(options["MONITOR_PORT"] or settings.get("MONITOR_PORT") or 5555, "MONITOR_PORT"),
    }
    with _only_one() as lock:
        _check_ports(host, ports)
        checks.keys_or_meant("API_HOST", host, settings)
        if not is_loopback(host) and not client_key.are_on():
            warn(f"API_HOST={host}: the API is open to your network, without authentication.")
        ensure_installed()
        checks.no_package_is_shadowed()
        redis = choose_redis(settings)
        return asyncio.run(Dev(settings, host, ports, redis, lock).serve())


# ------------------------------------------------------------------------------------------ before the start


def _settings() -> dict[str, str]:
    """The settings of `.env`, and what else is in the shell."""
    return shell_environment() | read_env()


@contextlib.contextmanager
def _only_one() -> Iterator[IO[str]]:
    """Refuse while another `make dev` runs in this folder; give the lock that says so.

    A killed one keeps the lock, by its guard, until the last of its processes is gone.
    """
    MARKERS.mkdir(mode=0o700, exist_ok=True)
    with open(MARKERS / "dev.lock", "w") as lock:

        def look() -> str | None:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if dev := running_dev():
                    raise CommandError(_runs_already(dev)) from None
                return ""
            return None

        wait_for(look, processes.GRACE + 5, lambda _: _runs_already(None), pauses=itertools.repeat(0.1))
        yield lock


def _runs_already(dev: dict[str, Any] | None) -> str:
    where = f" (pid {dev['pid']}, {dev['api_url']})" if dev else ""
    return f"make dev runs in this folder already{where}. Stop it by Ctrl-C in its terminal."


def _check_ports(host: str, ports: dict[str, int]) -> None:
    if len(set(ports.values())) < len(ports):
        raise CommandError(f"API_PORT and MONITOR_PORT are both {ports['API_PORT']}: they must differ.")
    for variable, number in ports.items():
        if port_taken(host if variable == "API_PORT" else "127.0.0.1", number):
            if any(number in container.ports for found in containers().values() for container in found):
                raise CommandError(
                    f"This project's own containers have port {number}: stop them (make stop), "
                    f"or pass another one: make dev {variable}={number % 65535 + 1}"
                )
            raise CommandError(
                f"Port {number} is already taken! Pass an available one: make dev {variable}={number + 1}"
                if number < 65535
                else f"Port {number} is already taken! Pass an available one by {variable}."
            )
