"""What the compose files say of every container, whatever is switched on; and what the proxy tells the API."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.project import Project
from tests.support.bakery import TEMPLATE
from tests.support.http import answers
from tests.support.ports import free_port
from tests.support.waiting import eventually

FILES = sorted(path.name for path in TEMPLATE.glob("docker-compose*.yml"))
LONGEST_WAIT = 86_400  # seconds: what MAX_WAIT and the response timeout can be at the most

# Answers every request with the headers it came with.
ECHO = """
import http.server, json
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(dict(self.headers)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("0.0.0.0", 8000), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which everything is switched on; not launched."""
    project = new_project(tmp_path_factory.mktemp("compose"))
    project.set_env(COMPOSE_FILE=":".join(["docker-compose.yml", *(name for name in FILES if name.count(".") > 1)]))
    return project


@pytest.fixture(scope="module")
def services(project: Project) -> dict[str, dict[str, Any]]:
    output = project.compose("config", "--format", "json")
    assert output.code == 0, output
    found = json.loads(output.out)["services"]
    assert set(found) == {
        "api", "denzel", "monitor", "redis", "rabbitmq", "proxy", "nginx", "prometheus", "grafana",
    }  # fmt: skip
    return found


def test_what_containers_print_is_bounded(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}, name


def test_every_container_is_restarted_and_without_privileges(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["restart"] == "unless-stopped", name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["init"] is True, name
        assert service["user"].split(":")[0] not in ("", "0", "root"), name
        assert service["healthcheck"]["test"], name


@pytest.mark.parametrize(
    ("further", "published"),
    [
        ("docker-compose.rabbitmq.yml", {"api": 1, "monitor": 1}),
        # the second one with TLS
        ("docker-compose.proxy.yml:docker-compose.tls.yml", {"api": 1, "monitor": 1, "proxy": 2}),
        ("docker-compose.rabbitmq.yml:docker-compose.nginx.yml:docker-compose.nginx-tls.yml", {"nginx": 2}),
        ("docker-compose.metrics.yml", {"api": 1, "monitor": 1, "prometheus": 1, "grafana": 1}),
        (
            "docker-compose.rabbitmq.yml:docker-compose.nginx.yml:docker-compose.metrics.yml",
            {"nginx": 1, "prometheus": 1, "grafana": 1},
        ),
    ],
)
def test_few_services_are_published_and_to_this_machine(
    project: Project, further: str, published: dict[str, int]
) -> None:
    files = [word for name in f"docker-compose.yml:{further}".split(":") for word in ("--file", name)]
    services = json.loads(project.compose(*files, "config", "--format", "json").out)["services"]
    ports = {name: [port["host_ip"] for port in service.get("ports") or []] for name, service in services.items()}
    expected = {name: ["127.0.0.1"] * count for name, count in published.items()}
    assert {name: addresses for name, addresses in ports.items() if addresses} == expected


def test_the_proxy_waits_longer_than_any_request_may() -> None:
    match = re.search(r"proxy_read_timeout (\d+)s;", (TEMPLATE / "proxy/nginx.conf").read_text(encoding="utf-8"))
    assert match
    assert int(match[1]) > LONGEST_WAIT


@pytest.fixture
def echo(project: Project, tmp_path: Path) -> Iterator[str]:
    """The URL of the proxy, behind which something answers with the headers it gets."""
    port = free_port()
    override = tmp_path / "echo.yml"  # JSON is YAML
    api = {"image": "python:3.13-slim", "command": ["python3", "-c", ECHO.replace("$", "$$")]}
    override.write_text(json.dumps({"services": {"api": api}}), encoding="utf-8")
    project.set_env(PROXY_PORT=str(port), API_PORT=str(project.api_port))
    files = ["--file", "docker-compose.yml", "--file", "docker-compose.proxy.yml", "--file", str(override)]
    try:
        output = project.compose(*files, "up", "--detach", "--no-build", "--no-deps", "api", "proxy")
        assert output.code == 0, output
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: answers(f"{url}/ping"), lambda: project.compose(*files, "logs").out, 30, interval=0.2)
        yield url
    finally:
        project.compose(*files, "down", "--timeout", "1")


def test_the_proxy_tells_the_api_who_is_asking_and_bounds_its_log(project: Project, echo: str) -> None:
    headers = requests.get(f"{echo}/info", headers={"Prefer": "wait=2", "Host": "models.example"}, timeout=10).json()
    client = headers["X-Real-IP"]
    assert re.fullmatch(r"\d+\.\d+\.\d+\.\d+", client)
    assert headers["X-Forwarded-For"] == client
    assert headers["X-Forwarded-Proto"] == "http"
    assert headers["Host"] == "models.example"
    assert headers["Prefer"] == "wait=2"

    words = ["docker", "inspect", "--format", "{{json .HostConfig.LogConfig}}", f"{project.slug}-proxy-1"]
    found = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert found == {"Type": "json-file", "Config": {"max-file": "3", "max-size": "10m"}}
