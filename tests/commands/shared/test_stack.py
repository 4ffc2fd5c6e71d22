"""What COMPOSE_FILE says of the service: of what it consists, and where it is entered."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands.containers import launch
from commands.shared import stack
from commands.shared.for_tests import Containers
from commands.shared.project import CommandError

SETTINGS = "API_HOST=127.0.0.1\nAPI_PORT=8000\nMONITOR_PORT=5555\nPROXY_HOST=0.0.0.0\nPROXY_PORT=8080\n"
PROXY = "docker-compose.yml:docker-compose.proxy.yml"
FULL = "docker-compose.yml:docker-compose.rabbitmq.yml:docker-compose.nginx.yml"


@pytest.fixture
def use(env_file: Path) -> object:
    return lambda files: env_file.write_text(f"COMPOSE_FILE={files}\n{SETTINGS}")


@pytest.mark.parametrize(
    ("files", "services", "ports", "urls"),
    [
        (
            "docker-compose.yml",
            ["denzel", "monitor", "api", "redis"],
            {"api": "8000", "monitor": "5555"},
            ("http://127.0.0.1:8000", "http://127.0.0.1:5555"),
        ),
        (
            PROXY,
            ["denzel", "monitor", "api", "redis", "proxy"],
            {"api": "8000", "monitor": "5555", "proxy": "8080"},
            ("http://127.0.0.1:8000", "http://127.0.0.1:5555"),
        ),
        (
            FULL,
            ["denzel", "monitor", "api", "redis", "rabbitmq", "nginx"],
            {"nginx": "8080"},
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/monitor/"),
        ),
        (
            f"{FULL}:docker-compose.metrics.yml",
            ["denzel", "monitor", "api", "redis", "rabbitmq", "nginx", "prometheus", "grafana"],
            {"nginx": "8080", "prometheus": "9090", "grafana": "3000"},
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/monitor/"),
        ),
    ],
)
def test_what_is_there_and_where(use, files: str, services: list[str], ports: dict[str, str], urls: tuple) -> None:
    use(files)
    assert (stack.services(), stack.published(), stack.container_urls()) == (services, ports, urls)


@pytest.mark.parametrize(("files", "tls"), [(PROXY, "docker-compose.tls.yml"), (FULL, "docker-compose.nginx-tls.yml")])
def test_tls_has_a_port_of_its_own(use, files: str, tls: str) -> None:
    use(files)
    assert stack.proxy_place() == {"PROXY_HOST": "0.0.0.0", "PROXY_PORT": "8080"}
    use(f"{files}:{tls}")
    assert stack.proxy_place() == {"PROXY_HOST": "0.0.0.0", "PROXY_PORT": "8080", "PROXY_TLS_PORT": "8443"}


def test_launch_asks_for_the_ports_that_are_published(use) -> None:
    use(PROXY)
    assert launch._asked_for(["API_PORT=81"]) == {"API_HOST": "127.0.0.1", "API_PORT": "81", "MONITOR_PORT": "5555"}
    use(FULL)
    assert launch._asked_for(["PROXY_PORT=81"]) == {"PROXY_HOST": "0.0.0.0", "PROXY_PORT": "81"}
    with pytest.raises(CommandError, match=r"does not know the variable API_PORT: it takes PROXY_PORT, PROXY_HOST\."):
        launch._asked_for(["API_PORT=81"])


@pytest.mark.parametrize(("services", "ports"), [(["api"], None), (["api", "nginx"], ["127.0.0.1:8123:8000"])])
def test_tests_reach_the_api_itself_where_only_nginx_is_published(services: list[str], ports: list[str] | None) -> None:
    texts = dict.fromkeys(
        ("slug", "compose_project", "redis_password", "broker_password", "secret", "callbacks_to"), "x"
    )
    numbers = dict.fromkeys(("redis_port", "broker_port"), 1)
    containers = Containers(settings={}, services=services, api_port=8123, **texts, **numbers)
    assert containers.override("image", Path("logs"))["services"]["api"].get("ports") == ports
