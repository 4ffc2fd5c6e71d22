"""The index that packages come from, by `.env`: for `.venv` and for all layers of the image (which denzel/ reads)."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

from commands.shared.env import INDEX_NAMES, read_env, shell_environment
from commands.shared.project import ROOT, CommandError
from denzel.requirements import OVER_PIP_CERT

_REFUSED = re.compile(r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|SSLError|SSL verification failed", re.I)
_NOT_ALLOWED = re.compile(r"\b(401|403)\b.*(Error|Credentials|Unauthorized|Forbidden)|HTTP error 40[13]", re.I)
_SILENT = re.compile(
    r"Failed to establish a new connection|NewConnectionError|NameResolutionError|ConnectTimeout|ReadTimeoutError"
    r"|Name or service not known|Temporary failure in name resolution|Connection refused|Connection to \S+ timed out",
    re.I,
)
_LOGIN = "PIP_INDEX_URL=https://user:password@host/... in .env, characters such as @ and / as %40 and %2F"
_MISSING = re.compile(r"No matching distribution found", re.I)


def pip_environment() -> dict[str, str]:
    """What pip runs with: the index of `.env`; where that names none, the one that pip has from elsewhere."""
    env = read_env()
    environment = shell_environment() | {name: os.environ[name] for name in INDEX_NAMES if name in os.environ}
    environment |= {name: env[name] for name in INDEX_NAMES if env.get(name)}
    if env.get("PIP_CERT"):
        environment["PIP_CERT"] = str(ROOT / env["PIP_CERT"])
        for name in OVER_PIP_CERT:
            environment.pop(name, None)
    return environment


def index_is_right(settings: Mapping[str, str]) -> None:
    """The index's addresses are some, and its certificates can be read.

    Raises:
        CommandError: says which setting is wrong; an address, which may hold a password, is not shown.
    """
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        for url in settings.get(name, "").split():
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https", "file") or not (parts.netloc or parts.path):
                raise CommandError(f"{name} in .env must be an address such as https://pypi.example.com/simple")
    if not (name := settings.get("PIP_CERT", "")):
        return
    try:
        ssl.create_default_context(cafile=str(ROOT / name))
    except ssl.SSLError:
        raise CommandError(
            f"PIP_CERT in .env names {name}, which holds no certificate (PEM: -----BEGIN CERTIFICATE-----)."
        ) from None
    except OSError as error:
        raise CommandError(
            f"PIP_CERT in .env names {name}, which cannot be read: {error.strerror}. "
            "Give the path of a file from this folder on, or an absolute one."
        ) from None


def advice(output: str) -> str:
    """What to set where pip's output shows that the index is the trouble; empty for all else."""
    env = read_env()
    index, certificate = env.get("PIP_INDEX_URL", ""), env.get("PIP_CERT", "")
    if _REFUSED.search(output):
        told = f"names {certificate}: it must be that of" if certificate else "names the file (PEM) of"
        return f"The certificate of the package index is not accepted. PIP_CERT in .env {told} the authority behind it."
    if "check_hostname requires server_hostname" in output:
        return "This pip cannot check the certificate of an IP address: in .env name the package index by a host name."
    if _NOT_ALLOWED.search(output):
        return f"The package index refuses the user or the password: {_LOGIN}."
    if _SILENT.search(output):
        where = f"The package index of PIP_INDEX_URL in .env ({_shown(index)})" if index else "The package index"
        return f"{where} cannot be reached. " + (
            "In the image, localhost is the container that is built: name the index by the machine's address."
            if urlsplit(index).hostname in ("localhost", "127.0.0.1", "::1")
            else "Behind a firewall name your company's own index: PIP_INDEX_URL in .env."
            if not index
            else "Is the address right, and this machine in the right network?"
        )
    if index and _MISSING.search(output):
        return (
            f"It was looked for in the package index of PIP_INDEX_URL in .env: {_shown(index)}\n"
            f"Where that refuses the user or the password, pip may not say so: {_LOGIN}."
        )
    return ""


def _shown(url: str) -> str:
    """The address without its user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
