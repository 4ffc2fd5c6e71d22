"""A baked project as its user sees it: its commands and its HTTP interface."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.support.waiting import eventually

PIPELINES = Path(__file__).parent / "pipelines"
COMMAND_TIMEOUT = 300


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

    def shown_status(self) -> str:
        """What `make status` prints, without the lines on what waits and how /predict responds, which must be there."""
        text = self.run("status").out
        for line in (r"Queue: \d+ tasks? waits?", r"Responses: (asynchronous|synchronous, within \S+ seconds)"):
            text, lines = re.subn(rf"(?m)^{line}\n", "", text)
            assert lines == 1, text
        return text

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

        def ended() -> dict[str, Any] | None:
            document = self.status(task_id)
            return None if document["status"] in ("PENDING", "STARTED", "RETRY") else document

        return eventually(ended, lambda: f"{self.status(task_id)} has ended", timeout, interval=0.1)

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
