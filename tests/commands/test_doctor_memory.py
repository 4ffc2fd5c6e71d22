"""What `make doctor` says of the memory: what the processes of the running service have measured."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.commands.test_doctor import doctor, without_docker

__all__ = ["without_docker"]

GB = 1_000_000_000


@pytest.fixture
def project(baked: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(baked, tmp_path / "project"))


@pytest.fixture
def workers(project: Path) -> Iterator[list[dict[str, object]]]:
    """The workers that the API of a `make dev` tells of: to be filled."""
    told: list[dict[str, object]] = []

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"ready": True, "workers": told}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with (
        HTTPServer(("127.0.0.1", 0), Api) as server,
        subprocess.Popen([sys.executable, "-c", "input()", "commands"], stdin=subprocess.PIPE) as dev,
    ):
        url = f"http://127.0.0.1:{server.server_port}"
        (project / ".denzel").mkdir(exist_ok=True)
        (project / ".denzel/dev.json").write_text(
            json.dumps({"pid": dev.pid, "api_url": url, "monitor_url": url, "redis_url": "", "services": []})
        )
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield told
        server.shutdown()
        dev.kill()


@pytest.mark.parametrize(
    ("processes", "memory", "free", "verdict", "text"),
    [
        (2, 3.2 * GB, 24 * GB, "ok", "2 processes hold the model, 3.2 GB each; 24.0 GB are free"),
        (1, 0.18 * GB, 24 * GB, "ok", "1 process holds the model, 180 MB; 24.0 GB are free"),
        (
            8,
            3.2 * GB,
            0.4 * GB,
            "note",
            "8 processes hold 8 copies of the model, 3.2 GB each; 0.4 GB are free: set WORKER_",
        ),
        (2, 0, 24 * GB, "ok", "what the model takes is known while the service runs with it"),
    ],
)
def test_what_was_measured_is_told(
    project: Path,
    workers: list[dict[str, object]],
    without_docker: str,
    processes: int,
    memory: float,
    free: float,
    verdict: str,
    text: str,
) -> None:
    workers.append({"name": "w", "processes": processes, "memory": int(memory), "memory_free": int(free)})
    found = doctor(project, PATH=without_docker)["Memory"]
    assert found[0] == verdict
    assert found[1].startswith(text)


def test_how_to_learn_it_is_told_where_nothing_runs(project: Path, without_docker: str) -> None:
    verdict, text = doctor(project, PATH=without_docker)["Memory"]
    assert (verdict, "(make launch, make dev)" in text) == ("ok", True)
