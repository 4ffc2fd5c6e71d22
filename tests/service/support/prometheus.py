"""A real Prometheus (Debian's package `prometheus`), with the configuration and the rules that the template brings."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.support.bakery import TEMPLATE
from tests.support.http import answers
from tests.support.ports import free_port
from tests.support.waiting import eventually

FOLDER = TEMPLATE / "metrics"
RULES = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
DASHBOARD = json.loads((FOLDER / "grafana/dashboards/denzel.json").read_text(encoding="utf-8"))


def program(name: str) -> str:
    """The path of `prometheus` or `promtool`; without it the test is skipped, and fails in CI."""
    if found := shutil.which(name):
        return found
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        pytest.fail(f"{name} is not installed (apt-get install prometheus)")
    pytest.skip(f"needs {name} (apt-get install prometheus)")


def promtool(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program("promtool"), *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


def queries() -> list[tuple[str, str]]:
    """The title of each panel and each of its queries, with a minute in the place of Grafana's interval."""
    return [
        (panel["title"], target["expr"].replace("$__rate_interval", "1m"))
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", ())
    ]


def names_in(expression: str) -> set[str]:
    """The metrics that an expression is about."""
    return set(re.findall(r"\bdenzel_\w+|\bup\b", expression))


class Prometheus:
    """What it has found."""

    def __init__(self, url: str) -> None:
        self.url = url

    def _get(self, path: str, **parameters: str) -> Any:
        answer = requests.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=10)
        assert answer.status_code == 200, f"{parameters}: {answer.text}"
        return answer.json()["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression has now."""
        return self._get("query", query=expression)["result"]

    def firing(self) -> dict[str, dict[str, Any]]:
        """The alerts that fire, by name."""
        found = [alert for alert in self._get("alerts")["alerts"] if alert["state"] == "firing"]
        return {alert["labels"]["alertname"]: alert for alert in found}

    def until_fires(self, name: str, timeout: float = 30.0) -> dict[str, Any]:
        return eventually(lambda: self.firing().get(name), lambda: f"{name} fires: {list(self.firing())}", timeout, 0.2)

    def until_calm(self, name: str, timeout: float = 30.0) -> None:
        eventually(lambda: name not in self.firing(), f"{name} fires no more", timeout, 0.2)


@contextmanager
def watching(target: str, folder: Path) -> Iterator[Prometheus]:
    """A Prometheus that reads a service (host:port) each second; alerts fire without the time that they wait else."""
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    rules = re.sub(r"\n *for: \w+", "", (FOLDER / "alerts.yml").read_text(encoding="utf-8"))
    (folder / "alerts.yml").write_text(rules, encoding="utf-8")
    port = free_port()
    words = [program("prometheus"), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "prometheus.log").open("ab") as log:
        process = subprocess.Popen([*words, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        ready = lambda: (folder / "prometheus.log").read_text()  # noqa: E731
        eventually(lambda: answers(f"{url}/-/ready"), ready, 30, 0.1)
        yield Prometheus(url)
    finally:
        process.terminate()
        process.wait(20)
