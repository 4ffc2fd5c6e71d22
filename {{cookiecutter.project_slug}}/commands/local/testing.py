"""`make test` and `make e2e`: the project's tests, on one process or on its containers."""

from __future__ import annotations

import os
import shlex
import sys

from commands.containers.checks import docker_sees_the_folder
from commands.local.install import ensure_installed
from commands.shared import checks
from commands.shared.arguments import parse_arguments
from commands.shared.docker import require_docker
from commands.shared.project import ROOT, CommandError


def test(arguments: list[str]) -> int:
    """Run the tests on the tier `inline`: no Docker, no Redis."""
    return _pytest([], arguments)


def e2e(arguments: list[str]) -> int:
    """Run the same tests on the project's containers; they are other ones than those of `make launch`."""
    require_docker()
    docker_sees_the_folder()
    return _pytest(["--denzel-tier=docker", "--denzel-require"], arguments)


def _pytest(options: list[str], arguments: list[str]) -> int:
    """Become pytest, so that its exit code is ours and Ctrl-C is its own affair."""
    given = parse_arguments(arguments, {"ARGS": ""})["ARGS"]
    try:
        words = shlex.split(given)
    except ValueError as error:
        raise CommandError(f"ARGS={given!r} cannot be read: {error}.") from None
    python = str(ensure_installed(tests=True))
    checks.no_package_is_shadowed()
    sys.stdout.flush()
    os.chdir(ROOT)
    os.execv(python, [python, "-m", "pytest", *options, *words])
