"""What the service consists of, and where it is entered: by COMPOSE_FILE of ``.env``."""

from __future__ import annotations

import os

from commands.shared.env import listening, monitor_host, read_env
from commands.shared.ports import url

SERVICES = ("denzel", "monitor", "api", "redis")
# A compose file that COMPOSE_FILE may name -> the services that it brings.
ADDED_BY = {
    "docker-compose.rabbitmq.yml": ["rabbitmq"],
    "docker-compose.proxy.yml": ["proxy"],
    "docker-compose.nginx.yml": ["nginx"],
    "docker-compose.metrics.yml": ["prometheus", "grafana"],
}
PROXIES = ("proxy", "nginx")
TLS_FILES = ("docker-compose.tls.yml", "docker-compose.nginx-tls.yml")
GPU_FILE = "docker-compose.gpu.yml"
# Where the only way in leads to the monitor.
MONITOR_PATH = "/monitor/"


def compose_files() -> list[str]:
    """The compose files in use: what COMPOSE_FILE of ``.env`` names."""
    return (read_env().get("COMPOSE_FILE") or "docker-compose.yml").split(os.pathsep)


def services() -> list[str]:
    """The four services, and those that further compose files bring."""
    return [*SERVICES, *(service for name in compose_files() for service in ADDED_BY.get(name, []))]


def has_one_way_in() -> bool:
    """Whether the reverse proxy alone is published: no port of this machine leads to the API or the monitor itself."""
    return "nginx" in services()


def proxy_place() -> dict[str, str] | None:
    """Where the reverse proxy listens on this machine, None where there is none."""
    if not set(PROXIES) & set(services()):
        return None
    env = read_env()
    place = {"PROXY_HOST": env.get("PROXY_HOST") or "127.0.0.1", "PROXY_PORT": env.get("PROXY_PORT") or "8080"}
    has_tls = set(TLS_FILES) & set(compose_files())
    return place | ({"PROXY_TLS_PORT": env.get("PROXY_TLS_PORT") or "8443"} if has_tls else {})


def metrics_place() -> dict[str, str]:
    """Where Prometheus and Grafana listen on this machine; nothing where they are not."""
    if "grafana" not in services():
        return {}
    env = read_env()
    defaults = {"METRICS_HOST": "127.0.0.1", "PROMETHEUS_PORT": "9090", "GRAFANA_PORT": "3000"}
    return {name: env.get(name) or default for name, default in defaults.items()}


def published() -> dict[str, str]:
    """The services that this machine reaches, each with its port."""
    place, proxy, metrics = listening(), proxy_place() or {}, metrics_place()
    ports = {} if has_one_way_in() else {"api": place["API_PORT"], "monitor": place["MONITOR_PORT"]}
    ports |= {name: proxy["PROXY_PORT"] for name in PROXIES if name in services()}
    return ports | {name: metrics[f"{name.upper()}_PORT"] for name in ("prometheus", "grafana") if metrics}


def container_urls() -> tuple[str, str]:
    """The URLs by which this machine reaches the API and the monitor in their containers."""
    place, proxy = listening(), proxy_place()
    if proxy and has_one_way_in():
        api = url(proxy["PROXY_HOST"], proxy["PROXY_PORT"])
        return api, api + MONITOR_PATH
    return url(place["API_HOST"], place["API_PORT"]), url(monitor_host(), place["MONITOR_PORT"])
