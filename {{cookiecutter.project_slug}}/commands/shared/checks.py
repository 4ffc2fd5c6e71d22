"""What must be right before containers are built or started; each check says what to do where it is not."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from commands import shadowing
from commands.shared.docker import GPU_FILE, compose_files, compose_output, docker
from commands.shared.project import ROOT, CommandError, count, positive_number, read_env
from denzel.settings import Settings, SettingsError

_TOOLKIT = "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html"


def before_start() -> None:
    """All of them.

    Raises:
        CommandError: by the first that fails.
    """
    compose_files_exist()
    settings_are_right()
    compose_accepts()
    gpus_are_there()


def compose_files_exist() -> None:
    """COMPOSE_FILE names files that are there, the project's own first."""
    names = compose_files()
    for name in names:
        if not (ROOT / name).is_file():
            there = ", ".join(sorted(path.name for path in ROOT.glob("docker-compose*.yml")))
            raise CommandError(f"COMPOSE_FILE in .env names {name!r}, which does not exist. There are: {there}")
    if "docker-compose.yml" not in names:
        raise CommandError("COMPOSE_FILE in .env must name docker-compose.yml; the others only add to it.")


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
    settings = read_env() if given is None else given
    try:
        Settings.from_environment(settings)
    except SettingsError as error:
        raise CommandError(str(error)) from None
    if given is None:
        positive_number(settings.get("LAUNCH_TIMEOUT") or 600, "LAUNCH_TIMEOUT")
        count(settings.get("WORKERS") or 1, "WORKERS")
    memory = settings.get("REDIS_MAXMEMORY") or "0"
    if not re.fullmatch(r"\d+([kmg]?b?)?", memory, re.ASCII | re.IGNORECASE):
        raise CommandError(f"REDIS_MAXMEMORY must be a number of bytes such as 512mb or 2gb, not {memory!r}.")


def compose_accepts() -> None:
    """Docker Compose accepts the compose files with these settings."""
    config = compose_output("config", "--quiet")
    if config.returncode != 0:
        raise CommandError(f"docker-compose.yml or .env is wrong: {config.stderr.strip()}")


def gpus_are_there() -> None:
    """Docker can give a container the GPUs that the predictions need, if they need any; tried with a container."""
    env = read_env()
    if GPU_FILE not in compose_files():
        return
    wanted = str(count(env.get("GPU_COUNT") or 1, "GPU_COUNT"))
    image = env.get("REDIS_IMAGE") or "redis:8"
    words = ["run", "--rm", "--network", "none", "--gpus", wanted, "--entrypoint", "true", image]
    done = docker(*words)
    if done.returncode != 0:
        raise CommandError(
            f"The predictions are to run on {'a GPU' if wanted == '1' else f'{wanted} GPUs'} "
            f"({GPU_FILE} in COMPOSE_FILE of .env), "
            f"but Docker cannot provide that:\n  {_reason(done.stderr)}\n"
            f"Install NVIDIA's driver and its Container Toolkit ({_TOOLKIT}), then restart Docker. "
            f"To do without a GPU, take {GPU_FILE} out of COMPOSE_FILE."
        )


def _reason(error: str) -> str:
    """The line in which Docker says why, without its prefixes and hints."""
    lines = [line for line in error.strip().splitlines() if line.strip()]
    line = next((line for line in lines if "Error response from daemon" in line), lines[-1] if lines else "no reason")
    return line.rpartition("Error response from daemon: ")[2].strip()
