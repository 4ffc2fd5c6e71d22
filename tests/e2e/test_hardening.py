"""What nobody can do from within a container, even who has got into it: tried in the running ones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.project import Project
from tests.support.http import answers
from tests.support.waiting import eventually

# Says whether something answers: a name of the containers' name server, or an address.
CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3).close()
    print("reached")
except OSError as error:
    print(type(error).__name__)
"""


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with every container that this machine has an image of, launched."""
    project = new_project(tmp_path_factory.mktemp("hardening"), broker="rabbitmq")
    project.use_pipeline("doubling")
    project.set_env(COMPOSE_FILE=f"{project.env('COMPOSE_FILE')}:docker-compose.proxy.yml")
    project.launch()
    return project


def inspected(project: Project, service: str) -> dict[str, Any]:
    """What Docker tells of a service's container."""
    words = ["docker", "inspect", f"{project.slug}-{service}-1"]
    return json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)[0]


def run_in(project: Project, service: str, *words: str) -> str:
    """What a command prints in a service's container, however it ends."""
    output = project.compose("exec", "--no-TTY", service, *words)
    return (output.out + output.err).strip()


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of another machine: a web server at port 80, which knows no way to the networks of containers."""
    folder = tmp_path_factory.mktemp("outside")
    name, ours, its = f"dnz{os.getpid()}", "198.51.100.1", "198.51.100.2"
    if os.geteuid() or not shutil.which("ip"):
        pytest.skip("another machine can be made by root alone, with ip of iproute2")

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    ip("netns", "add", name)
    server = None
    try:
        ip("link", "add", name, "type", "veth", "peer", "name", "outside", "netns", name)
        ip("address", "add", f"{ours}/30", "dev", name)
        ip("link", "set", name, "up")
        ip("-netns", name, "address", "add", f"{its}/30", "dev", "outside")
        ip("-netns", name, "link", "set", "outside", "up")
        words = [
            "ip",
            "netns",
            "exec",
            name,
            sys.executable,
            "-m",
            "http.server",
            "80",
            "--bind",
            its,
            "--directory",
            str(folder),
        ]
        server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(lambda: answers(f"http://{its}/"), "the other machine answers")
        yield its
    finally:
        if server:
            server.terminate()
            server.wait()
        subprocess.run(["ip", "link", "delete", name], capture_output=True)
        ip("netns", "delete", name)


# ---- Networks -----------------------------------------------------------------------------------------------------


def reaches(project: Project, service: str, host: str, port: int) -> bool:
    """Whether a container with Python reaches a port; whatever its own packages are."""
    return run_in(project, service, "python", "-c", CONNECT, host, str(port)) == "reached"


def bash_asks(project: Project, service: str, host: str, port: int) -> str:
    """The head of what a web server answers to a container without Python."""
    script = (
        f"exec 3<>/dev/tcp/{host}/{port} && printf 'GET /ping HTTP/1.0\\r\\nHost: x\\r\\n\\r\\n' >&3 && head -1 <&3"
    )
    return run_in(project, service, "timeout", "4", "bash", "-c", script)


def test_each_container_is_in_its_networks_and_in_no_other(project: Project) -> None:
    found = {
        name: {n.removeprefix(f"{project.slug}_") for n in inspected(project, name)["NetworkSettings"]["Networks"]}
        for name in ("api", "denzel", "redis", "monitor", "rabbitmq", "proxy")
    }  # fmt: skip
    assert found == {
        "api": {"default", "front", "store"},
        "denzel": {"default", "store"},
        "redis": {"store"},
        "rabbitmq": {"store"},
        "monitor": {"store", "watch"},
        "proxy": {"front"},
    }


def test_callbacks_leave_and_the_monitor_reaches_no_receiver(project: Project, outside: str) -> None:
    assert reaches(project, "denzel", outside, 80)
    assert reaches(project, "api", outside, 80), "verify_input may ask others"
    assert not reaches(project, "monitor", outside, 80)
    assert reaches(project, "monitor", "redis", 6379)


def test_the_proxy_reaches_the_api_and_nothing_else(project: Project, outside: str) -> None:
    assert "200 OK" in bash_asks(project, "proxy", "api", 8000)
    for host, port in (("redis", 6379), ("rabbitmq", 5672), ("monitor", 5555), (outside, 80)):
        assert "HTTP/1" not in bash_asks(project, "proxy", host, port), host


def test_redis_and_the_broker_have_no_way_out(project: Project) -> None:
    for service in ("redis", "rabbitmq"):
        routes = run_in(project, service, "cat", "/proc/net/route").splitlines()[1:]
        assert routes, routes
        assert not [route for route in routes if route.split()[1] == "00000000"], f"{service} has a default route"
