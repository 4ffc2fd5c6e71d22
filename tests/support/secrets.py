"""The secrets of a project, and what a machine shows of its processes: the one must not be in the other."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

import requests

# The settings of .env that are secrets, or may hold one.
_SECRET = re.compile(r"^(\w*(?:PASSWORD|SECRET))=(.+)$", re.MULTILINE)
_SHORTEST = 8  # characters; what is shorter is in any text by chance
# Pages of the monitor, and what it tells programs.
_MONITOR = (
    "/", "/workers", "/tasks", "/broker", "/api/workers", "/api/tasks", "/api/queues/length", "/api/task/types",
    "/metrics", "/healthcheck",
)  # fmt: skip

# A pipeline that does what a request says.
ACTING = """
import time


def verify_input(json_data):
    if json_data.get("act") == "refuse":
        raise ValueError("refused")
    return json_data


def load_model():
    return None


def process(model, json_data):
    return json_data


def predict(model, data):
    if data.get("act") == "fail":
        raise RuntimeError("failed")
    time.sleep(60 if data.get("act") == "wait" else 0)
    return {"answer": 1}
"""


class Secrets:
    """The secrets of a project: those in its .env, and others by their names."""

    def __init__(self, dotenv: Path, **others: str) -> None:
        self._texts: dict[str, str] = {}
        for name, value in [*_SECRET.findall(dotenv.read_text(encoding="utf-8")), *others.items()]:
            for text in (value, value.removeprefix("whsec_"), quote(value, safe=""), _in_base64(value)):
                if len(text) >= _SHORTEST:
                    self._texts[text] = name
        login = base64.b64encode(f"admin:{self.value('MONITOR_PASSWORD')}".encode()).decode()
        self._texts[login] = "MONITOR_PASSWORD"

    def value(self, name: str) -> str:
        return next(text for text, found in self._texts.items() if found == name)

    @property
    def names(self) -> set[str]:
        return set(self._texts.values())

    def found_in(self, shown: str | bytes) -> set[str]:
        """The names of the secrets that a text holds."""
        text = shown.decode("utf-8", "replace") if isinstance(shown, bytes) else shown
        return {name for secret, name in self._texts.items() if secret in text}

    def at_rest(self, folder: Path) -> dict[str, tuple[set[str], int]]:
        """The files below a folder that hold secrets: by their paths, which ones and the file's mode."""
        found = {}
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink() and (names := self.found_in(path.read_bytes())):
                found[str(path.relative_to(folder))] = (names, path.stat().st_mode & 0o777)
        return found


def _in_base64(value: str) -> str:
    """What is in the base64 of any text that has the value at the beginning of three bytes."""
    encoded = base64.b64encode(value.encode()).decode()
    return encoded[: len(value) * 8 // 6]


def shown_by_processes() -> str:
    """What any user of the machine sees of its processes: command lines, and environments that are open to others."""
    listed = subprocess.run(["ps", "axww", "-o", "pid,args"], capture_output=True, text=True, check=True).stdout
    if os.geteuid() or not shutil.which("setpriv"):
        return listed  # one's own environments are one's own
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    environments = subprocess.run(
        [*nobody, "sh", "-c", "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null; ps axewwl"],
        capture_output=True, text=True, errors="replace",
    )  # fmt: skip
    assert "PID" in environments.stdout, environments.stderr
    return listed + environments.stdout


def shown_by_monitor(url: str, password: str, tasks: list[str]) -> dict[str, str]:
    """What the monitor shows to those who have its password, by path."""
    paths = [*_MONITOR, *(f"/task/{task_id}" for task_id in tasks), *(f"/api/task/info/{task_id}" for task_id in tasks)]
    workers = requests.get(f"{url}/api/workers?refresh=1", auth=("admin", password), timeout=20).json()
    paths += [f"/worker/{name}" for name in workers]
    pages = {path: requests.get(f"{url}{path}", auth=("admin", password), timeout=20) for path in paths}
    assert pages["/tasks"].ok
    assert workers
    return {path: f"{page.headers} {page.text}" for path, page in pages.items()}
