"""The images that the containers are built on and started from, pinned in `.env` by the digest of their tag."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

from commands.shared.env import ENV_FILE, read_env, update_env
from commands.shared.project import ROOT
from commands.shared.stack import compose_files

EXAMPLE = ENV_FILE.with_name(".env.example")
_IMAGE = re.compile(r"\$\{(\w+_IMAGE):-([^}]+)\}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TIMEOUT = 60  # seconds for a registry's answer


def in_use() -> dict[str, str]:
    """The images that the compose files of COMPOSE_FILE name, by their setting in `.env`."""
    env = read_env()
    found: dict[str, str] = {}
    for name in compose_files():
        path = ROOT / name
        found |= dict(_IMAGE.findall(path.read_text(encoding="utf-8"))) if path.is_file() else {}
    return {name: env.get(name) or default for name, default in found.items()}


def pin() -> tuple[dict[str, str], dict[str, str]]:
    """Write the digests that the registries give for the tags now into `.env` and `.env.example`.

    Returns:
        The images that are pinned now, by their settings; and for each that stays as it is, why.
    """
    pinned: dict[str, str] = {}
    kept: dict[str, str] = {}
    for name, image in in_use().items():
        tag = image.partition("@")[0]
        digest, problem = _digest(tag)
        if digest:
            pinned[name] = f"{tag}@{digest}"
        else:
            kept[name] = f"{image}: {problem}"
    if pinned:
        update_env(**pinned)
        _update_example(pinned)
    return pinned, kept


def _digest(image: str) -> tuple[str, str]:
    """The digest of an image for all platforms; or none, and why."""
    if shutil.which("docker") is None:
        return "", "Docker, which asks the registry, is not installed"
    command = ["docker", "buildx", "imagetools", "inspect", image, "--format", "{{json .Manifest}}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return "", f"its registry did not answer within {_TIMEOUT} s"
    if done.returncode:
        return "", (done.stderr.strip().splitlines() or ["its registry gave no answer"])[-1]
    try:
        digest = str(json.loads(done.stdout)["digest"])
    except (ValueError, KeyError, TypeError):
        digest = ""
    return (digest, "") if _DIGEST.fullmatch(digest) else ("", "its registry named no digest")


def _update_example(pinned: dict[str, str]) -> None:
    """The file that clones make their `.env` of: only lines that are there are changed."""
    if not EXAMPLE.is_file():
        return
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    names = [line.partition("=")[0] for line in lines]
    lines = [f"{name}={pinned[name]}" if name in pinned else line for name, line in zip(names, lines, strict=True)]
    EXAMPLE.write_text("\n".join(lines) + "\n", encoding="utf-8")
