"""``make start``, ``stop``, ``restart``, ``shutdown`` and ``shell``: the containers after their launch."""

from __future__ import annotations

import os
import shutil
import sys

from commands.containers import changes, checks, permissions, reload
from commands.containers.launch import announce, check_free, checked, require_keys, up
from commands.containers.until_ready import wait_until_ready
from commands.local import dev_edits
from commands.shared.arguments import choice, parse_arguments, switch
from commands.shared.docker import (
    Container,
    compose,
    compose_command,
    compose_environment,
    containers,
    docker,
    require_created,
    require_docker,
    require_own,
)
from commands.shared.env import listening, read_env
from commands.shared.project import REDIS_DATA, ROOT, CommandError
from commands.shared.running import api_url, launched, running_dev
from commands.shared.screen import say, warn
from commands.shared.stack import PROXIES, services

# What runs the project's code, and what stands beside it; the other services keep what these have to store.
CODE = {"api", "denzel"}
BESIDE = {"monitor", *PROXIES}


def start(arguments: list[str]) -> int:
    """Start the containers again; edits of ``.env`` apply."""
    parse_arguments(arguments, {})
    _start(require_created())
    return 0


def stop(arguments: list[str]) -> int:
    """Stop the containers; what runs is finished first, what waits in the queue stays there."""
    parse_arguments(arguments, {})
    require_created()
    _stop("api")  # while there are workers yet that answer who waits
    _stop()
    say('Stopped; queue, results and settings stay. To start again: "make start"')
    return 0


def restart(arguments: list[str]) -> int:
    """Apply edits of ``app/`` and ``.env``; of ``app/`` alone without a moment in which nothing serves."""
    parse_arguments(arguments, {})
    if running_dev() and not launched():
        return dev_edits.restart()
    found = require_created()
    _check(found)
    for name, command in changes.uninstalled(found).items():
        warn(f"{name} has changed since the image was built: {command} installs that.")
    replaced, worn = changes.seen_by_compose(found), changes.unseen_by_compose(found) & (CODE | BESIDE)
    if (replaced | worn) <= BESIDE and reload.possible(found, api_url()):
        reload.replace_processes(found, api_url())
    else:
        _stop("api")  # while there are workers yet that answer who waits
        if replaced <= CODE | BESIDE:
            up("api")  # it takes requests again while the workers stop and load their models
            _stop("denzel")
        else:
            _stop("denzel", "monitor")  # while the services are there yet that keep what these have to store
    if beside := (worn & BESIDE) - replaced:
        _stop(*beside)
    up()
    wait_until_ready(api_url())
    announce()
    return 0


def shutdown(arguments: list[str]) -> int:
    """Remove the containers; with PURGE=1 also the project's own image and data, nothing that is shared."""
    values = parse_arguments(arguments, {"PURGE": "0"})
    purge = switch(values["PURGE"], "PURGE")
    require_docker()
    require_own(found := containers())
    name = read_env()["COMPOSE_PROJECT_NAME"]
    options = ["--volumes"] if purge else []
    if compose("down", "--remove-orphans", *options) != 0:
        raise CommandError("The containers could not be removed: the lines above say why.")
    if purge:
        # those of compose files that are no longer in use, too
        volumes = docker("volume", "ls", "--quiet", "--filter", f"label=com.docker.compose.project={name}")
        removed = docker("volume", "rm", "--force", *volumes.stdout.split()) if volumes.stdout.split() else volumes
        if removed.returncode != 0:
            raise CommandError(f"The data could not be removed: {removed.stderr.strip()}")
        remove_data(name)
        # by name: `down --rmi` would spare the image, which has a name, or remove those of others
        if docker("image", "inspect", name).returncode == 0:
            removed = docker("image", "rm", name)
            if removed.returncode != 0:
                raise CommandError(f"The image {name} could not be removed: {removed.stderr.strip()}")
        prune()
        say(f"Removed the containers, the data and the image of {name}.")
    elif not found:
        say(f"There are no containers of {name}.")
    else:
        say(f"Removed the containers of {name}; its queue, results and settings stay for the next launch.")
    return 0


def shell(arguments: list[str]) -> int:
    """Open a shell in a running container."""
    values = parse_arguments(arguments, {"SERVICE": "denzel"})
    service = choice(values["SERVICE"], "SERVICE", sorted(services()))
    found = require_created().get(service, [])
    if not any(container.state == "running" for container in found):
        raise CommandError(f'The service {service} is not running. Start it: "make start"')
    terminal = [] if sys.stdin.isatty() and sys.stdout.isatty() else ["--no-TTY"]
    command = compose_command("exec", *terminal, service, "bash")
    os.chdir(ROOT)
    sys.stdout.flush()
    os.execvpe(command[0], command, compose_environment())


def remove_data(name: str) -> None:
    """Remove the data of Redis, which lie in a folder, whoever owns it."""
    folder = REDIS_DATA / name
    if not folder.exists():
        return
    try:
        shutil.rmtree(folder)
    except PermissionError:  # another user's, as with a Docker that does not run as root
        image = read_env().get("REDIS_IMAGE") or "redis:8"
        words = ["run", "--rm", "--network", "none", "--user", "root", "--volume", f"{REDIS_DATA}:/redis-data"]
        removed = docker(*words, "--entrypoint", "rm", image, "-r", f"/redis-data/{name}")
        if removed.returncode != 0:
            raise CommandError(f"The data could not be removed: {removed.stderr.strip()}") from None


def prune() -> None:
    """Remove the images of this project that a newer one has replaced."""
    label = f"denzel.project={read_env()['COMPOSE_PROJECT_NAME']}"
    docker("image", "prune", "--force", "--filter", f"label={label}")


def _check(found: dict[str, list[Container]]) -> None:
    """Refuse, before anything is stopped, settings with which the containers could not start."""
    own = frozenset(port for several in found.values() for container in several for port in container.ports)
    check_free(checked(listening()), "Set an available port in .env", own)
    require_keys(listening())
    permissions.prepare()
    checks.before_start()


def _start(found: dict[str, list[Container]]) -> None:
    _check(found)
    up()
    wait_until_ready(api_url())
    announce()


def _stop(*services: str) -> None:
    if compose("stop", *services) != 0:
        raise CommandError("The containers could not be stopped: the lines above say why.")
