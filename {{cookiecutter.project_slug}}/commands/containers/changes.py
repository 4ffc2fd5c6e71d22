"""What has changed since the containers were started: whether it is in them already, or needs them to be replaced."""

from __future__ import annotations

import json
from pathlib import Path

from commands.shared.docker import Container, compose_output, docker
from commands.shared.project import ROOT, CommandError
from commands.shared.stack import PROXIES
from denzel import requirements

# What the processes of a container have read from the project's folder and keep for as long as the container runs.
# The user's own code is not here: a reload takes it up.
_READS = {
    "api": ("denzel/**/*.py", "denzel/**/*.lua", "denzel/pages/*", "entrypoints/*.sh"),
    "denzel": ("denzel/**/*.py", "denzel/**/*.lua", "entrypoints/*.sh"),
    **dict.fromkeys(PROXIES, ("proxy/*", "entrypoints/proxy.sh")),
    "prometheus": ("metrics/*.yml",),
    "grafana": ("metrics/grafana/*/*",),
}


def seen_by_compose(found: dict[str, list[Container]]) -> set[str]:
    """The services whose containers `docker compose up` would create, replace or remove.

    It compares what Compose does: the digest of a service's configuration, which holds all of its settings, and its
    image. Where a version of Compose has another idea of the digest, everything counts as changed.
    """
    complete = _config("--format", "json")
    images = {name: service["image"] for name, service in json.loads(complete)["services"].items()}
    # of the complete configuration: by itself `config --hash` leaves out what env_file brings, `up` does not
    digests = dict(line.split() for line in _config("--hash", "*", of=complete).splitlines())
    ids = {
        image: docker("image", "inspect", "--format", "{{.Id}}", image).stdout.strip() for image in {*images.values()}
    }
    changed = {service for service in digests if not found.get(service)} | (set(found) - set(digests))
    for service, digest in digests.items():
        for container in found.get(service, []):
            if (container.config, container.image) != (digest, ids[images[service]]):
                changed.add(service)
    return changed


def unseen_by_compose(found: dict[str, list[Container]]) -> set[str]:
    """Further services that need a start: they are not well, or the framework's files are newer than they are."""
    return {
        service
        for service, containers in found.items()
        for container in containers
        if container.state == "running" and (container.started < _written(service) or _is_unwell(container))
    }


def uninstalled(found: dict[str, list[Container]]) -> dict[str, str]:
    """The requirement files that are not those which the image was built with, and the command that installs each."""
    running = next((container for container in found.get("api", []) if container.state == "running"), None)
    changed: dict[str, str] = {}
    if not running:
        return changed
    told = docker("exec", running.id, "cat", requirements.DIGESTS)
    try:
        built, now = json.loads(told.stdout) if told.returncode == 0 else {}, requirements.digests(ROOT)
    except requirements.RequirementsError as error:
        raise CommandError(str(error)) from None
    for name in sorted(
        {path for path in built.keys() | now.keys() if built.get(path) != now.get(path)} if built else ()
    ):
        changed[name] = "make updatepipreqs"
    for name, command in (("requirements.sh", "make updateosreqs"), ("requirements-build.sh", "make updatepipreqs")):
        script = docker("exec", running.id, "cat", name)
        if script.returncode == 0 and script.stdout != _text(ROOT / name):
            changed[name] = command
    return changed


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _config(*arguments: str, of: str = "") -> str:
    """What `docker compose config` prints, of the project's files or of this one."""
    words = ("--file", "-", "--project-directory", str(ROOT)) if of else ()
    done = compose_output(*words, "config", *arguments, stdin=of)
    if done.returncode != 0:
        raise CommandError(f"docker-compose.yml or .env is wrong: {done.stderr.strip()}")
    return done.stdout


def _written(service: str) -> float:
    """When the last of a service's files was put in its place, whatever time of its contents came along."""
    paths = [path for pattern in _READS.get(service, ()) for path in ROOT.glob(pattern)]
    return max((path.stat().st_ctime for path in paths), default=0.0)


def _is_unwell(container: Container) -> bool:
    # denzel's health is that of its workers, who speak for themselves
    return container.health == "unhealthy" and container.service != "denzel"
