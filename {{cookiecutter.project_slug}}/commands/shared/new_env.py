"""A clone has no `.env`, which git does not keep: it gets one from `.env.example`, with secrets of its own."""

from __future__ import annotations

import base64
import os
import secrets

from commands.shared.env import ENV_FILE, write_private
from commands.shared.project import NOT_ROOT, REDIS_DATA, ROOT
from commands.shared.screen import say

EXAMPLE = ENV_FILE.with_name(".env.example")
PLACEHOLDER = "__GENERATED__"


def create_if_missing() -> None:
    """Make `.env` where there is none and the project has its example."""
    if ENV_FILE.exists() or not EXAMPLE.exists():
        return
    lines = [_with_owner(line) for line in EXAMPLE.read_text(encoding="utf-8").splitlines()]
    write_private(ENV_FILE, "\n".join(map(_with_secret, lines)) + "\n")
    if os.geteuid() == 0 and ROOT.stat().st_uid == 0 and REDIS_DATA.is_dir():  # Redis never runs as root
        os.chown(REDIS_DATA, NOT_ROOT, NOT_ROOT)
    say("Made .env from .env.example, with new secrets.")


def _with_owner(line: str) -> str:
    """The containers run as the owner of the folder, if that is not root."""
    owner, name = ROOT.stat(), line.partition("=")[0]
    ids = {"DENZEL_UID": owner.st_uid, "DENZEL_GID": owner.st_gid}
    return f"{name}={ids[name]}" if owner.st_uid and name in ids else line


def _with_secret(line: str) -> str:
    name, _, value = line.partition("=")
    if value != PLACEHOLDER or name.startswith("#"):
        return line
    if name == "CALLBACK_SECRET":  # the form of the Standard Webhooks
        return f"{name}=whsec_{base64.b64encode(secrets.token_bytes(36)).decode()}"
    return f"{name}={secrets.token_hex(12 if name == 'PROJECT_ID' else 24)}"
