"""The real processes of a baked project, on free ports: Redis, the API, the workers, the monitor."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import redis
import requests

from tests.support.http import answers
from tests.support.ports import free_port
from tests.support.processes import children_of
from tests.support.waiting import eventually

NAMES = ("redis", "api", "denzel", "monitor")


class Service:
    """One project's services. Nothing runs until `start`; leaving the `with` block stops everything.

    Args:
        project: the baked project's folder.
        settings: what `.env` would hold, by the names there; they override the defaults for tests.
    """

    running: list[Service] = []  # noqa: RUF012 - all of this test run, for the logs of failures

    def __init__(self, project: Path, **settings: str | float) -> None:
        self.project = project
        self.ports = {name: free_port() for name in ("redis", "api", "monitor")}
        self.url = f"http://127.0.0.1:{self.ports['api']}"
        self._processes: dict[str, subprocess.Popen] = {}
        self._logs = project / ".test-logs"
        self._seen: dict[str, int] = {}
        password = secrets.token_hex(8)
        self.redis_url = f"redis://:{password}@127.0.0.1:{self.ports['redis']}/0"
        values = {
            "REDIS_PORT": self.ports["redis"],
            "REDIS_DIR": project / ".redis",
            "REDIS_PASSWORD": password,
            "REDIS_URL": self.redis_url,
            "API_BIND": f"127.0.0.1:{self.ports['api']}",
            "ALLOWED_HOSTS": "a,x,test,tested",  # as heads name the service that tests write by hand
            "MONITOR_PORT": self.ports["monitor"],
            "MONITOR_PASSWORD": secrets.token_hex(8),
            "PROJECT_SLUG": project.name,
            "READY_FILE": project / ".ready",
            "WORKER_CONCURRENCY": 1,
            "API_WORKERS": 1,
            "PYTHONFAULTHANDLER": 1,
            **settings,
        }
        # Nothing of the developer's own environment but what a process needs to run at all.
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = kept | {"PATH": path} | {name: str(value) for name, value in values.items()}
        self.redis = redis.Redis.from_url(self.redis_url, socket_timeout=5)
        self.prefix = f"denzel/{values['PROJECT_SLUG']}:"  # of this project's names in Redis

    def __enter__(self) -> Service:
        self._logs.mkdir()
        (self.project / ".redis").mkdir()
        self.started = time.time()
        Service.running.append(self)
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        if kind:  # shown as captured output: a fixture that fails has no service to take logs from
            print(*(f"--- {name}\n{text}" for name, text in self.new_logs().items()), sep="\n")
        with ExitStack() as stack:
            stack.callback(Service.running.remove, self)
            stack.callback(self.redis.close)
            for name in NAMES:  # the last one first, and each of them whatever becomes of the others
                stack.callback(self.stop, name)

    # ---- Processes -----------------------------------------------------------------------------------------

    def start(self, *names: str) -> None:
        """Start services by their entrypoints; redis and api answer when it returns."""
        self.start_only(*names)
        for name, probe in (("redis", self._redis_answers), ("api", self._api_answers)):
            if name in names:
                eventually(lambda name=name, probe=probe: self._alive(name) and probe(), f"{name} answers")

    def start_only(self, *names: str) -> None:
        """Start services, and wait for nothing."""
        for name in names:
            assert name not in self._processes, f"{name} runs already"
            with (self._logs / f"{name}.log").open("ab") as log:
                self._processes[name] = subprocess.Popen(
                    [str(self.project / "entrypoints" / f"{name}.sh")],
                    cwd=self.project,
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )

    def stop(self, name: str, timeout: float = 20.0) -> int | None:
        """Stop a service as Docker would, by SIGTERM; its exit code, None when it does not run."""
        process = self._processes.get(name)
        if process is None:
            return None
        try:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._tell_stacks(name)
            raise
        finally:
            self._bury(name)

    def _tell_stacks(self, name: str) -> None:
        """Let a service's Python processes write into its log where they are."""
        for pid, command in {self.pid(name): "", **children_of(self.pid(name))}.items():
            if "python" in command or "gunicorn" in command or not command:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGABRT)  # PYTHONFAULTHANDLER
        time.sleep(0.5)

    def wait_for_end(self, name: str, timeout: float = 20.0) -> int:
        """Wait until a service ends by itself; its exit code."""
        try:
            return self._processes[name].wait(timeout)
        finally:
            self._bury(name)

    def kill(self, name: str) -> None:
        """Kill a service's whole container: every process of it, at once."""
        os.killpg(self.pid(name), signal.SIGKILL)
        self._bury(name)

    def _bury(self, name: str) -> None:
        process = self._processes.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def restart(self, name: str) -> None:
        """Stop and start a service."""
        self.stop(name)
        self.start(name)

    @contextmanager
    def paused(self, name: str) -> Iterator[None]:
        """Within the block a service's first process is frozen: it keeps its connections, silently."""
        os.kill(self.pid(name), signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid(name), signal.SIGCONT)

    def pid(self, name: str) -> int:
        """The id of a service's first process."""
        return self._processes[name].pid

    def predictors(self) -> list[int]:
        """The ids of the prediction processes."""
        return sorted(
            pid for pid, command in children_of(self.pid("denzel")).items() if "denzel.worker.process" in command
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a Python module of the project, as `docker compose exec` would."""
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=self.project, env=self.environment, capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip

    def _alive(self, name: str) -> bool:
        code = self._processes[name].poll()
        if code is not None:
            raise AssertionError(f"{name} ended with code {code}:\n{self.log(name)}")
        return True

    def _redis_answers(self) -> bool:
        try:
            return self.redis.ping()
        except redis.exceptions.RedisError:
            return False

    def _api_answers(self) -> bool:
        return answers(f"{self.url}/ping")

    # ---- Logs ----------------------------------------------------------------------------------------------

    def log(self, name: str) -> str:
        """What a service has written to stdout and stderr."""
        path = self._logs / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def mark_logs(self) -> None:
        """What is in the logs by now belongs to earlier tests."""
        self._seen = {name: len(self.log(name)) for name in NAMES}

    def new_logs(self) -> dict[str, str]:
        """What the services have written since `mark_logs`; of long logs the end."""
        return {name: text[-8000:] for name in NAMES if (text := self.log(name)[self._seen.get(name, 0) :])}

    def events(self, name: str = "") -> list[list[str]]:
        """What the scripted pipeline noted, in order: lists of words, the event's name first."""
        path = self.project / "events.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        return [words for words in map(str.split, lines) if not name or words[0] == name]

    # ---- HTTP ----------------------------------------------------------------------------------------------

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """One HTTP request on a connection of its own, so that any API process may get it."""
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, self.url + path, **{"timeout": 30, **options})

    def get(self, path: str, **options: Any) -> requests.Response:
        """GET a path."""
        return self.request("GET", path, **options)

    def predict(self, body: Any = None, prefer: str | None = None, **options: Any) -> requests.Response:
        """POST /predict: bytes as they are, anything else as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {**options.pop("headers", {}), **({"Prefer": prefer} if prefer else {})}
        return self.request("POST", "/predict", data=data, headers=headers, **options)

    def submit(self, body: Any) -> str:
        """Send an asynchronous request; its task's id."""
        response = self.predict(body, prefer="respond-async")
        assert response.status_code == 200, response.text
        return response.json()["data"]["task_id"]

    def status(self, task_id: str) -> dict[str, Any]:
        """The body of /status."""
        response = self.get(f"/status/{task_id}")
        assert response.status_code == 200, response.text
        return response.json()

    def wait(self, task_id: str, timeout: float = 15.0) -> dict[str, Any]:
        """The body of /status once the task has ended."""

        def ended() -> dict[str, Any] | None:
            body = self.status(task_id)
            return body if body["status"] in ("SUCCESS", "FAILURE", "REVOKED") else None

        return eventually(ended, f"task {task_id} ends", timeout)

    def ready(self) -> dict[str, Any]:
        """The body of /ready."""
        return self.get("/ready").json()

    def wait_ready(self, processes: int = 1, timeout: float = 20.0) -> None:
        """Wait until a model is loaded, in this many processes."""
        eventually(lambda: self.get("/ready").status_code == 200, "/ready answers 200", timeout)
        eventually(lambda: self._processes_up() >= processes, f"{processes} processes are up", timeout)

    def _processes_up(self) -> int:
        heartbeats = self.redis.hvals(f"{self.prefix}nodes")
        return sum(json.loads(value.partition(b" ")[2])["up"] for value in heartbeats)

    # ---- Raw bytes -----------------------------------------------------------------------------------------

    def raw(self, sent: bytes, half_close: bool = False) -> bytes:
        """What the API answers to these bytes until it closes or half a second passes in silence."""
        with socket.create_connection(("127.0.0.1", self.ports["api"]), timeout=5) as connection:
            connection.sendall(sent)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            received = connection.recv(65536)
            connection.settimeout(0.5)
            with suppress(TimeoutError, ConnectionResetError):
                while part := connection.recv(65536):
                    received += part
            return received
