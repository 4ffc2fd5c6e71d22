"""Docker, where it is there."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest


def require_docker() -> None:
    """Without Docker skip the test, on CI fail it."""
    done = subprocess.run(["docker", "version"], capture_output=True, text=True) if shutil.which("docker") else None
    if done is None or done.returncode != 0:
        reason = "docker is not installed" if done is None else done.stderr.strip().splitlines()[-1]
        if os.environ.get("CI", "").lower() not in ("", "0", "false"):
            pytest.fail(f"these tests need Docker: {reason}")
        pytest.skip(f"needs Docker: {reason}")


def docker_names(*words: str) -> set[str]:
    """The names that a listing command of Docker prints."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=True)
    return set(done.stdout.split())
