"""A virtual environment for each server, in the cache folder; made when it is first used."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from paths import CACHE

_MODEL = ("scikit-learn", "numpy")  # what the workloads need

# The newest versions at the time of the first installation; `rm -r` the cache folder to get newer ones.
PACKAGES: dict[str, tuple[str, ...]] = {
    "denzel": (*_MODEL, "falcon", "celery[redis]", "gunicorn", "ujson", "requests", "setuptools"),
    "fastapi": (*_MODEL, "fastapi", "uvicorn[standard]"),
    "mosec": (*_MODEL, "mosec"),
    "litserve": (*_MODEL, "litserve"),
    "bentoml": (*_MODEL, "bentoml"),
    "mlserver": (*_MODEL, "mlserver", "uvloop<0.22"),
    "celery": (*_MODEL, "fastapi", "uvicorn[standard]", "celery[redis]", "requests"),
}
COOKIECUTTER = "cookiecutter>=2.7,<3"


class Environment:
    """A virtual environment with these requirements (lines of pip's requirement files)."""

    def __init__(self, name: str, requirements: Sequence[str]) -> None:
        self.name = name
        self.folder = CACHE / "venvs" / name
        self._install(tuple(requirements))

    @property
    def bin(self) -> Path:
        """Where its programs are."""
        return self.folder / "bin"

    def _install(self, requirements: tuple[str, ...]) -> None:
        stamp = self.folder / "installed"
        digest = hashlib.sha256("\n".join(requirements).encode()).hexdigest()
        if stamp.exists() and stamp.read_text() == digest:
            return
        print(f"Installing {self.name} ({', '.join(requirements)})", flush=True)
        if not (self.bin / "python").exists():
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run([sys.executable, "-m", "venv", self.folder], check=True)
        pip = [
            str(self.bin / "python"),
            "-m",
            "pip",
            "--disable-pip-version-check",
            "install",
            "--quiet",
            *requirements,
        ]
        done = subprocess.run(pip, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise SystemExit(f"{done.stdout}\npip failed in {self.folder}")
        stamp.write_text(digest)

    def versions(self) -> dict[str, str]:
        """The versions of everything that is installed."""
        pip = [str(self.bin / "python"), "-m", "pip", "--disable-pip-version-check", "list", "--format=json"]
        found = subprocess.run(pip, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
        return {package["name"].lower(): package["version"] for package in json.loads(found)}


def peer(name: str) -> Environment:
    """The environment of one of the other servers."""
    return Environment(name, PACKAGES[name])
