"""Whatever a service of `make dev` shows after a journey through everything, no secret is in it."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.local.running import Dev, dev, free_ports, make
from tests.support.receivers import Receivers, Reply
from tests.support.secrets import ACTING, Secrets, shown_by_monitor, shown_by_processes
from tests.support.waiting import eventually

PROXY, TRACES, INDEX = (secrets.token_hex(12) for _ in range(3))


def set_env(project: Path, **values: str) -> None:
    path = project / ".env"
    text = path.read_text()
    for name, value in values.items():
        text, count = re.subn(rf"(?m)^{name}=.*$", f"{name}={value}", text)
        assert count == 1, name
    path.write_text(text)


@pytest.fixture(scope="module")
def receivers() -> Iterator[Receivers]:
    with Receivers() as receivers:
        yield receivers


@pytest.fixture(scope="module")
def running(installed: Path, receivers: Receivers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """A service with a secret wherever one may be, served by `make dev`."""
    project = tmp_path_factory.mktemp("secrets") / "project"
    shutil.copytree(installed, project, symlinks=True, ignore=shutil.ignore_patterns("dev.txt", "*.sock"))
    (project / "app/logic/pipeline.py").write_text(ACTING)
    proxy = receivers.open(Reply(200), Reply(403))
    set_env(
        project,
        CALLBACK_ALLOW="receiver.example",
        CALLBACK_PROXY=f"http://me:{PROXY}@127.0.0.1:{proxy.port}",
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://me:{TRACES}@127.0.0.1:9",
        LOG_LEVEL="debug",
    )
    with dev(project, *free_ports()) as running:
        running.wait_until_ready()
        yield running


def test_no_secret_is_shown(running: Dev) -> None:
    project = running.project
    marker = json.loads(running.marker.read_text())
    url, monitor = marker["api_url"], marker["monitor_url"]
    shown: dict[str, str] = {}
    key = make(project, "key", "NAME=alice").stdout.split()[-1]
    headers = {"X-API-Key": key}

    def ask(method: str, path: str, **options: object) -> requests.Response:
        answer = requests.request(method, url + path, timeout=60, **{"headers": headers, **options})
        shown[f"{method} {path} {len(shown)}"] = f"{answer.headers} {answer.text}"
        return answer

    def submit(**body: object) -> str:
        answer = ask("POST", "/predict", json=body, headers={**headers, "Prefer": "respond-async"})
        return answer.json()["data"]["task_id"]

    # ---- The journey
    eventually(lambda: requests.get(f"{url}/info", timeout=5).status_code == 401, "the key holds")
    assert ask("POST", "/predict", json={"data": 1}, headers={"X-API-Key": f"{key}x"}).status_code == 401
    assert ask("POST", "/predict", json={"data": 1}).json() == {"answer": 1}
    assert ask("POST", "/predict", json={"data": 1, "act": "fail"}).status_code == 500
    assert ask("POST", "/predict", json={"act": "refuse"}).status_code == 400
    assert ask("POST", "/predict", data=b"{").status_code == 400
    delivered, refused = (submit(callback_uri="http://receiver.example/inbox") for _ in range(2))
    for task_id, wanted in ((delivered, "delivered"), (refused, "pending")):
        eventually(
            lambda task_id=task_id, wanted=wanted: wanted in str(ask("GET", f"/status/{task_id}").json()["callback"]),
            f"the callback is {wanted}",
        )
    failed, waiting = submit(act="fail"), submit(act="wait")
    eventually(lambda: ask("GET", f"/status/{waiting}").json()["status"] == "STARTED", "it runs")
    assert ask("DELETE", f"/status/{waiting}").status_code == 202
    eventually(lambda: ask("GET", f"/status/{failed}").json()["status"] == "FAILURE", "it has failed")
    for path in ("/ready", "/ping", "/info", "/metrics", "/docs", "/openapi.json", "/", "/nothing"):
        ask("GET", path)
        ask("GET", path, headers={})

    # ---- What is shown
    set_env(project, PIP_INDEX_URL=f"https://me:{INDEX}@127.0.0.1:1/simple")
    for words in ("status", "logs", "logworker", "key", "predict", "help", "doctor"):
        done = make(project, words)
        shown[f"make {words}"] = done.stdout + done.stderr
    made = make(project, "key", "NAME=bob").stdout
    others = {
        "API_KEY": key, "ANOTHER_KEY": made.split()[-1], "OWN_KEY": (project / ".denzel/key").read_text().strip(),
        "CALLBACK_PROXY": PROXY, "OTEL_EXPORTER_OTLP_ENDPOINT": TRACES, "PIP_INDEX_URL": INDEX,
    }  # fmt: skip
    known = Secrets(project / ".env", **others)
    assert known.names >= {*others, "REDIS_PASSWORD", "MONITOR_PASSWORD", "CALLBACK_SECRET"}
    assert known.found_in(made) == {"ANOTHER_KEY"}
    shown["processes"] = shown_by_processes()
    assert "denzel.worker" in shown["processes"], "the test sees this project's processes"
    tasks = [delivered, refused, failed, waiting]
    password = known.value("MONITOR_PASSWORD")
    shown |= {f"monitor {path}": text for path, text in shown_by_monitor(monitor, password, tasks).items()}
    shown["make dev"] = running.text()
    assert {place: names for place, text in shown.items() if (names := known.found_in(text))} == {}
    at_rest = known.at_rest(project)
    assert at_rest.keys() == {".env", ".denzel/dev.json", ".denzel/key"}
    assert {mode for _, mode in at_rest.values()} == {0o600}
