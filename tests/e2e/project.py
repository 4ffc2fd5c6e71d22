"""A baked project as its user sees it: its commands and its HTTP interface."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

PIPELINES = Path(__file__).parent / "pipelines"
COMMAND_TIMEOUT = 300


def free_port() -> int:
    """A port of this machine on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Output:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"exit code {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


@dataclass(frozen=True)
class OrdinaryUser:
    """A user of this machine who is in Docker's group and has nothing but a home."""

    uid: int
    home: Path

    @classmethod
    def create(cls, home: Path) -> OrdinaryUser:
        """A user that no other has; the home's folder is given to it."""
        user = cls(54321, home)
        home.mkdir()
        os.chown(home, user.uid, user.uid)
        return user

    @property
    def prefix(self) -> list[str]:
        """The words before a command that let the user run it."""
        group = Path("/var/run/docker.sock").stat().st_gid
        return ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", f"--groups={group}"]

    @property
    def environment(self) -> dict[str, str]:
        """What a shell of the user would have."""
        return {"HOME": str(self.home), "PATH": os.defpath, "LANG": "C.UTF-8"}

    def own(self, folder: Path) -> None:
        """Give a folder and everything in it to the user."""
        for path in (folder, *folder.rglob("*")):
            os.chown(path, self.uid, self.uid, follow_symlinks=False)


@dataclass
class Project:
    """A project in its folder. As a context manager: nothing of it is left, and a failure shows its logs."""

    path: Path
    slug: str
    api_port: int
    monitor_port: int
    user: OrdinaryUser | None = None  # who runs its commands, unless the tests' own user does

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    def launch(self) -> Output:
        """Launch it on its ports, successfully."""
        return self.run("launch", f"API_PORT={self.api_port}", f"MONITOR_PORT={self.monitor_port}")

    def run(self, *words: str, stdin: str = "") -> Output:
        """Run a command of the Makefile that must succeed."""
        output = self.make(*words, stdin=stdin)
        assert output.code == 0, f"make {' '.join(words)}: {output}"
        return output

    def refuse(self, *words: str) -> str:
        """Run a command that must end with exit code 1; what it says, without make's own line."""
        output = self.make(*words)
        assert output.code == 2, f"make {' '.join(words)}: {output}"
        assert output.err.rstrip().endswith("Error 1"), output
        assert "Traceback" not in output.out, output
        return output.err[: output.err.rindex("make: ***")].strip()

    def make(self, *words: str, stdin: str = "") -> Output:
        """Run a command of the Makefile."""
        done = subprocess.run(
            self._as_user("make", *words),
            cwd=self.path,
            env=self._environment(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT,
        )
        return Output(done.returncode, done.stdout, done.stderr)

    def start_make(self, *words: str) -> subprocess.Popen[str]:
        """Start a command of the Makefile, its output in a pipe."""
        return subprocess.Popen(
            self._as_user("make", *words),
            cwd=self.path,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _as_user(self, *words: str) -> list[str]:
        return [*self.user.prefix, *words] if self.user else [*words]

    def _environment(self) -> dict[str, str]:
        if self.user:
            return self.user.environment
        # a make around pytest must not hand its own variables down
        return {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}

    # ------------------------------------------------------------------------------------------- files

    def set_env(self, **values: str) -> None:
        """Edit .env as a user does."""
        path = self.path / ".env"
        text = path.read_text(encoding="utf-8")
        for name, value in values.items():
            text, count = re.subn(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
            assert count == 1, f".env has no line {name}="
        path.write_text(text, encoding="utf-8")

    def env(self, name: str) -> str:
        """A setting in .env."""
        match = re.search(rf"^{name}=(.*)$", (self.path / ".env").read_text(encoding="utf-8"), re.MULTILINE)
        assert match, f".env has no line {name}="
        return match[1]

    def use_pipeline(self, name: str) -> None:
        """Put one of tests/e2e/pipelines in the pipeline's place."""
        text = (PIPELINES / f"{name}.py").read_text(encoding="utf-8")
        (self.path / "app/logic/pipeline.py").write_text(text, encoding="utf-8")

    # -------------------------------------------------------------------------------------------- HTTP

    def predict(self, body: Any, **options: Any) -> requests.Response:
        """POST /predict."""
        return requests.post(f"{self.url}/predict", json=body, timeout=30, **options)

    def predict_async(self, body: Any) -> str:
        """POST /predict in asynchronous mode; the task's id."""
        response = self.predict(body)
        assert response.status_code == 200, response.text
        document = response.json()
        assert document["status"] == "success", document
        return document["data"]["task_id"]

    def status(self, task_id: str) -> dict[str, Any]:
        """GET /status of a task."""
        response = requests.get(f"{self.url}/status/{task_id}", timeout=10)
        assert response.status_code == 200, response.text
        return response.json()

    def wait(self, task_id: str, timeout: float = 30) -> dict[str, Any]:
        """The status of a task once it has ended."""
        deadline = time.monotonic() + timeout
        while (document := self.status(task_id))["status"] in ("PENDING", "STARTED", "RETRY"):
            assert time.monotonic() < deadline, document
            time.sleep(0.1)
        return document

    # ------------------------------------------------------------------------------------------ Docker

    def compose(self, *words: str) -> Output:
        """Run plain `docker compose` in the project's folder."""
        done = subprocess.run(
            self._as_user("docker", "compose", "--ansi", "never", *words),
            cwd=self.path,
            env=self._environment(),
            capture_output=True,
            text=True,
        )
        return Output(done.returncode, done.stdout, done.stderr)

    def logs(self) -> str:
        """What the services have printed last."""
        output = self.compose("logs", "--tail", "60")
        return output.out or output.err

    def __enter__(self) -> Project:
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        if kind:
            print(self.logs())
        self.remove()

    def remove(self) -> None:
        """Leave nothing behind, whatever a test did."""
        self.compose("kill")
        self.make("shutdown", "PURGE=1")


def require_docker() -> None:
    """Without Docker skip the test, on CI fail it."""
    done = subprocess.run(["docker", "version"], capture_output=True, text=True) if shutil.which("docker") else None
    if done is None or done.returncode != 0:
        reason = "docker is not installed" if done is None else done.stderr.strip().splitlines()[-1]
        if os.environ.get("CI"):
            pytest.fail(f"these tests need Docker: {reason}")
        pytest.skip(f"needs Docker: {reason}")


def docker_names(*words: str) -> set[str]:
    """The names that a listing command of Docker prints."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


class Inbox:
    """An HTTP server on this machine that keeps what is posted to it, reachable from the containers."""

    def __init__(self) -> None:
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with inbox._arrived:
                    inbox._received[self.headers["webhook-id"]] = (dict(self.headers), body)
                    inbox._arrived.notify_all()
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._received: dict[str, tuple[dict[str, str], bytes]] = {}
        self._arrived = threading.Condition()
        self._server = ThreadingHTTPServer(("0.0.0.0", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def address(self) -> str:
        """Its host and port as the containers know it."""
        return f"host.docker.internal:{self._server.server_port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}/callback"

    def wait_for(self, task_id: str, timeout: float = 20) -> Any:
        """The JSON that came for the task."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: task_id in self._received, timeout), (
                f"no callback for {task_id} within {timeout} s; there are {list(self._received)}"
            )
            headers, body = self._received[task_id]
        assert headers["Content-Type"] == "application/json"
        return json.loads(body)

    def __enter__(self) -> Inbox:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
