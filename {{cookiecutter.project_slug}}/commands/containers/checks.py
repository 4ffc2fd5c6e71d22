"""What must be right before containers are built or started; each check says what to do where it is not."""

from __future__ import annotations

from commands.shared.arguments import count
from commands.shared.checks import settings_are_right
from commands.shared.docker import compose_output, docker
from commands.shared.env import read_env
from commands.shared.limits import limits_are_right
from commands.shared.project import ROOT, CommandError
from commands.shared.stack import GPU_FILE, compose_files

_TOOLKIT = "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html"


def before_start() -> None:
    """All of them.

    Raises:
        CommandError: by the first that fails.
    """
    compose_files_exist()
    settings_are_right()
    limits_are_right()
    compose_accepts()
    docker_sees_the_folder()
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


def docker_sees_the_folder() -> None:
    """Docker can mount the project's folder into containers; tried with a container, which leaves nothing behind.

    It cannot where its daemon is elsewhere: on another machine, or outside of the container in which this runs.
    """
    # this kind of mount makes no folder where there is none, which -v and Compose do; its words are those of a CSV line
    source = str(ROOT / "app").replace('"', '""')
    image = read_env().get("REDIS_IMAGE") or "redis:8"
    words = ["run", "--rm", "--network", "none", "--mount", f'type=bind,"source={source}",target=/mnt,readonly']
    done = docker(*words, "--entrypoint", "test", image, "-e", "/mnt/logic")
    if done.returncode == 1 or "bind source path does not exist" in done.stderr:
        raise CommandError(
            f"Docker does not see the folder {ROOT}: its daemon runs on another machine, or outside of the container "
            "in which this runs, and the project's containers would find nothing in their mounts. Run this where the "
            'daemon is, or have the folder mounted here under the path that it has there. "make dev" needs no Docker.'
        )


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
