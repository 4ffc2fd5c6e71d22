"""What the commands share: the project's folder, its ``.env``, their arguments, and what is running."""

from __future__ import annotations

import errno
import ipaddress
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ENV_FILE = ROOT / ".env"
MARKERS = ROOT / ".denzel"
DEV_FILE = MARKERS / "dev.json"
BUILDING_FILE = MARKERS / "building.json"

_ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)$")
_COLOURS = {"red": 31, "green": 32, "yellow": 33, "blue": 34, "magenta": 35, "cyan": 36, "grey": 90}
_YES = {"1", "true", "yes", "y", "on"}
_NO = {"", "0", "false", "no", "n", "off"}


class CommandError(Exception):
    """A refusal or failure whose text, as it is, tells the user what to do."""


# ---------------------------------------------------------------------------------------------------- .env


def read_env() -> dict[str, str]:
    """The settings of ``.env`` as Compose reads them; variables of the shell do not override them."""
    try:
        text = ENV_FILE.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        number = error.object[: error.start].count(b"\n") + 1
        raise CommandError(f"{ENV_FILE}, line {number}: this is not UTF-8 text. Save the file as UTF-8.") from None
    except IsADirectoryError:
        raise CommandError(f"{ENV_FILE} is a folder; it must be the file of the project's settings.") from None
    except FileNotFoundError:
        raise CommandError(f"{ENV_FILE} is missing: it holds the project's settings and secrets.") from None
    values: dict[str, str] = {}
    for line in text.splitlines():
        if match := _ASSIGNMENT.match(line):
            values[match[1]] = _plain(match[2].strip())
    return values


def _plain(value: str) -> str:
    """A value without its quotes or its trailing comment."""
    if value[:1] in ("'", '"') and (end := value.find(value[0], 1)) > 0:
        return value[1:end]
    return "" if value.startswith("#") else re.split(r"\s+#", value, maxsplit=1)[0]


def listening() -> dict[str, str]:
    """Where the services listen on this machine: API_HOST, API_PORT and MONITOR_PORT of ``.env``."""
    env = read_env()
    defaults = {"API_HOST": "127.0.0.1", "API_PORT": "8000", "MONITOR_PORT": "5555"}
    return {name: env.get(name) or default for name, default in defaults.items()}


def update_env(**values: object) -> None:
    """Set settings in ``.env``: comments, order, mode and owner stay, a new name is added at the end."""
    missing = {name: str(value) for name, value in values.items()}
    for name, value in missing.items():
        if re.search(r"[\r\n]", value):
            raise CommandError(f"{name} must be a single line.")
    text = ENV_FILE.read_text(encoding="utf-8-sig") if ENV_FILE.exists() else ""
    lines = []
    for line in text.splitlines():
        match = _ASSIGNMENT.match(line)
        if match and match[1] in values:
            line = f"{match[1]}={values[match[1]]}"
            missing.pop(match[1], None)
        lines.append(line)
    lines += [f"{name}={value}" for name, value in missing.items()]
    new_text = "\n".join(lines) + "\n"
    if new_text != text:
        write_private(ENV_FILE, new_text)


def write_private(path: Path, text: str) -> None:
    """Write a private file so that a reader sees the old text or the new one, never a part."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o600)
        if path.exists() and os.geteuid() == 0:
            shutil.chown(temporary, path.stat().st_uid, path.stat().st_gid)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


# ------------------------------------------------------------------------------------------------ speaking


def say(text: str = "") -> None:
    """Print a line at once, also when stdout is a pipe."""
    print(text, flush=True)


def warn(text: str) -> None:
    """Print a line on stderr, after everything said so far."""
    sys.stdout.flush()
    print(colour(text, "yellow", sys.stderr), file=sys.stderr, flush=True)


def colour(text: str, name: str, stream: Any = None) -> str:
    """The text in a colour where it goes to a terminal and NO_COLOR is not set, else as it is."""
    stream = sys.stdout if stream is None else stream
    if os.environ.get("NO_COLOR") or not stream.isatty():
        return text
    return f"\033[{_COLOURS[name]}m{text}\033[0m"


# ----------------------------------------------------------------------------------------------- arguments


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


def port_taken(host: str, port: int) -> bool:
    """Whether something listens on the port already; tried by binding it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise CommandError(f"{host} is not an address of this machine.") from None
            # a port below 1024 that only root may bind is no obstacle for Docker
            if error.errno != errno.EACCES:
                return True
    with socket.socket(family, socket.SOCK_STREAM) as client:
        # some systems let two sockets bind the same port; nobody can share a listener
        client.settimeout(0.5)
        return client.connect_ex((reachable(host), port)) == 0


def reachable(host: str) -> str:
    """The address under which this machine reaches a service that listens on ``host``."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def url(host: str, port: int | str) -> str:
    """The http URL of a service that listens there, as this machine reaches it."""
    name = reachable(host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


# ----------------------------------------------------------------------------------------- what is running


def running_dev() -> dict[str, Any] | None:
    """The ``make dev`` of this folder: pid, api_url, monitor_url, redis_url; None when none is running."""
    return read_marker(DEV_FILE)


def launched() -> bool:
    """Whether the project's containers have been created (running or stopped)."""
    name = read_env().get("COMPOSE_PROJECT_NAME", "")
    command = ["docker", "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={name}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and bool(done.stdout.strip())


def api_url() -> str:
    """The API's URL: of the launched containers, else of a running ``make dev``."""
    if launched():
        place = listening()
        return url(place["API_HOST"], place["API_PORT"])
    if dev := running_dev():
        return dev["api_url"]
    raise CommandError('The project is not running: "make launch" (containers) or "make dev" (no Docker).')


def read_marker(path: Path) -> dict[str, Any] | None:
    """A marker in ``.denzel/`` whose process is alive; one that a killed process left behind is ignored."""
    try:
        marker = json.loads(path.read_text(encoding="utf-8"))
        pid = int(marker["pid"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return marker if _alive(pid) else None


def write_marker(path: Path, **values: Any) -> None:
    """Leave a marker of this process, readable at any moment as a whole."""
    path.parent.mkdir(exist_ok=True)
    write_private(path, json.dumps({"pid": os.getpid(), **values}))


def _alive(pid: int) -> bool:
    """Whether the process runs and is one of these commands, not a stranger that got its number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:
        return b"commands" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True
