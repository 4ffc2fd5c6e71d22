"""The Makefile: its help, and how it hands the user's words to the commands."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.conftest import Run
from tests.support.bakery import TEMPLATE

MAKEFILE = TEMPLATE / "Makefile"
needs_docker = pytest.mark.skipif(shutil.which("docker") is None, reason="needs the docker command")


def test_plain_make_lists_every_command(make: Run) -> None:
    done = make()
    assert done.returncode == 0
    listed = set(re.findall(r"^  make ([\w-]+)", done.stdout, re.MULTILINE))
    from commands.__main__ import COMMANDS

    assert listed == {"help", *COMMANDS}
    assert max(map(len, done.stdout.splitlines())) <= 110


def test_every_command_has_its_module() -> None:
    from commands.__main__ import COMMANDS

    for name in COMMANDS.values():
        module, _, function = name.partition(":")
        text = (TEMPLATE / "commands" / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
        assert f"def {function}(arguments: list[str]) -> int:" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["launch", "API_PORT=abc"], "API_PORT must be a port number from 1 to 65535, not 'abc'."),
        (["launch", "API_PORT=9 '$(x)`y`"], 'API_PORT must be a port number from 1 to 65535, not "9 \'$(x)`y`".'),
        (["launch", "API_PORT=70000"], "API_PORT must be a port number from 1 to 65535, not '70000'."),
        (["launch", "API_PORT=9000", "MONITOR_PORT=9000"], "API_PORT and MONITOR_PORT must differ, both are 9000."),
        (
            ["launch", "API_HOST=localhost"],
            "API_HOST must be an IP address such as 127.0.0.1 (this machine only) or 0.0.0.0 (every network), "
            "not 'localhost'.",
        ),
        (
            ["launch", "PORT=1"],
            "This command does not know the variable PORT: it takes API_HOST, API_PORT, MONITOR_PORT.",
        ),
        (["stop", "SERVICE=api"], "This command does not know the variable SERVICE: it takes none."),
        (["status", "LIVE=maybe"], "LIVE must be 1 or 0, not 'maybe'."),
        (["logs", "SERVICE=flower"], "SERVICE must be one of api, denzel, monitor, redis, all, not 'flower'."),
        (["shell", "SERVICE=all"], "SERVICE must be one of api, denzel, monitor, redis, not 'all'."),
        (["response"], "Must pass MODE=sync or MODE=async"),
        (["response", "MODE=both"], "MODE must be one of sync, async, not 'both'."),
        (
            ["response", "MODE=async", "TIMEOUT=3"],
            "TIMEOUT goes with MODE=sync only: an asynchronous answer does not wait.",
        ),
        (
            ["response", "MODE=sync", "TIMEOUT=-1"],
            "Sync timeout must be greater than 0: TIMEOUT is a number of seconds, not '-1'",
        ),
        (["replay"], 'Must pass ID=... (or ID=all): "make dead" lists the tasks that were given up'),
        (["redeliver"], "Must pass ID=...: the id of a task whose callback is to be sent again"),
        (["dead", "ID=1"], "This command does not know the variable ID: it takes none."),
        (["logworker", "WORKER=0"], "WORKER must be a whole number from 1 to 100, not '0'."),
        (["logworker", "WORKER=2"], "There is no worker-2.log in logs/."),
        (["scale"], "Must pass WORKERS=n: how many containers predict (now 1)."),
        (["scale", "WORKERS=many"], "WORKERS must be a whole number from 1 to 100, not 'many'."),
        (["doctor", "FIX=1"], "This command does not know the variable FIX: it takes none."),
        (["shutdown", "PURGE=all"], "PURGE must be 1 or 0, not 'all'."),
        (["logworker"], "Worker log hasn't been created yet"),
    ],
)
def test_a_wrong_value_gets_one_line_that_says_what_is_allowed(make: Run, words: list[str], said: str) -> None:
    done = make(*words)
    assert done.returncode == 2
    assert done.stderr.splitlines()[:-1] == [said]
    assert done.stdout == ""


def test_variables_of_the_environment_are_not_taken_for_the_commands_own(make: Run) -> None:
    done = make("logs", "SERVICE=flower", LIVE="maybe", PORT="1")
    assert done.stderr.startswith("SERVICE must be one of")


@pytest.mark.parametrize(
    ("redirection", "said"), [(">/dev/full", "No space left on device"), (">&-", ""), ("| head -0", "")]
)
def test_output_that_cannot_be_written_is_no_traceback(baked: Path, redirection: str, said: str) -> None:
    command = f"{sys.executable} commands doctor {redirection}"
    done = subprocess.run(["sh", "-c", command], cwd=baked, capture_output=True, text=True, timeout=60)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_entry_point_can_be_read_by_the_old_python_that_it_refuses() -> None:
    ast.parse((TEMPLATE / "commands" / "__main__.py").read_text(encoding="utf-8"), feature_version=(3, 6))


# ------------------------------------------------------------------------------------------------ without Docker


def test_launch_without_docker_says_what_to_install(make: Run, tmp_path: Path) -> None:
    for program in ("sh", "make"):
        found = shutil.which(program)
        assert found
        (tmp_path / program).symlink_to(found)
    done = make("launch", f"PYTHON={sys.executable}", PATH=str(tmp_path))
    assert done.stderr.startswith("Docker is not installed. Install Docker Engine with its Compose plugin: https://")
    assert '"make dev" runs the same services as plain processes.' in done.stderr


@needs_docker
def test_launch_with_docker_stopped_says_how_to_start_it(make: Run, tmp_path: Path) -> None:
    done = make("launch", DOCKER_HOST=f"unix://{tmp_path}/docker.sock")
    assert done.stderr.startswith("Docker is not running. Start it with `sudo systemctl start docker`")


@needs_docker
@pytest.mark.skipif(os.geteuid() != 0 or not Path("/var/run/docker.sock").exists(), reason="needs root and its Docker")
def test_launch_as_a_user_without_permission_says_how_to_get_it(make: Run) -> None:
    from commands.shared.docker import _unusable

    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "docker", "version"],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": "/tmp"},
    )
    assert done.returncode != 0
    assert "sudo usermod -aG docker $USER" in _unusable(done.stderr)
