"""The settings in ``.env``: read as Compose does, changed without touching anything else of the file."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from commands.shared import dotenv
from commands.shared.project import ROOT, CommandError
from denzel.settings import Settings

ENV_FILE = ROOT / ".env"
# the framework's own; others are the user's
COMPOSE_FILES = (
    "docker-compose.yml",
    "docker-compose.gpu.yml",
    "docker-compose.rabbitmq.yml",
    "docker-compose.proxy.yml",
    "docker-compose.tls.yml",
    "docker-compose.nginx.yml",
    "docker-compose.nginx-tls.yml",
    "docker-compose.data.yml",
    "docker-compose.metrics.yml",
)

# What belongs to other programs, and would steer those that the services and pip run on; entrypoints/ removes more.
_FOREIGN = re.compile(
    r"(CELERY|FALCON|FLOWER|GUNICORN|KOMBU|UVICORN)_.*|PYTHON[A-Z]+|WEB_CONCURRENCY|FORWARDED_ALLOW_IPS"
)
# pip's own names, which are settings here, too: the index that packages come from (commands/shared/package_index.py)
INDEX_NAMES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CERT")
_HARMLESS = {"PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"}
_OF_MAKE = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL"}

_ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)$")


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
    try:
        return dotenv.parse(text, os.environ)
    except dotenv.Malformed as error:
        raise CommandError(f"{ENV_FILE}, line {error.line}: {error}.") from None


def project_name(values: Mapping[str, str]) -> str:
    """The name that the services get as PROJECT_SLUG, where no container says it."""
    return values.get("PROJECT_SLUG") or values.get("COMPOSE_PROJECT_NAME") or ROOT.name


def own_variables() -> dict[str, str]:
    """The variables of ``.env`` that are the user's own: nothing of the framework reads them."""
    known = known_names(*(ROOT / name for name in COMPOSE_FILES))
    return {name: value for name, value in read_env().items() if name not in known}


def known_names(*compose_files: Path) -> set[str]:
    """What the service, the commands and these compose files read of ``.env``."""
    texts = [path.read_text(encoding="utf-8") for path in compose_files if path.exists()]
    named = (re.findall(r"\$\{(\w+)|^ +([A-Z][A-Z0-9_]+):", text, re.MULTILINE) for text in texts)
    commands = {"COMPOSE_FILE", "COMPOSE_PROFILES", "DOCKER_HOST", "LAUNCH_TIMEOUT"}
    return {field.name.upper() for field in fields(Settings)} | {a or b for found in named for a, b in found} | commands


def shell_environment() -> dict[str, str]:
    """What the shell gives to the programs that a command starts: nothing that would steer the services.

    Settings come from ``.env`` alone, here as in containers: a REDIS_URL in the shell may be another project's.
    """
    ours = {*read_env(), *(field.name.upper() for field in fields(Settings)), *INDEX_NAMES, *_OF_MAKE}
    return {
        name: value
        for name, value in os.environ.items()
        if name not in ours and (name in _HARMLESS or not _FOREIGN.fullmatch(name))
    }


def listening() -> dict[str, str]:
    """Where the services listen on this machine: API_HOST, API_PORT and MONITOR_PORT of ``.env``."""
    env = read_env()
    defaults = {"API_HOST": "127.0.0.1", "API_PORT": "8000", "MONITOR_PORT": "5555"}
    return {name: env.get(name) or default for name, default in defaults.items()}


def monitor_host() -> str:
    """Where the monitor listens on this machine, in containers: MONITOR_HOST of ``.env``."""
    return read_env().get("MONITOR_HOST") or "127.0.0.1"


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
