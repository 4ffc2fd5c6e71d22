"""A command that was run by sudo once, and what oneself is told after it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.local.running import environment, make

NOBODY = 65534


def as_nobody(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "make", "--no-print-directory", *words],
        cwd=project,
        env=environment(PYTHON="/usr/bin/python3"),
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of root's")
@pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="needs a Python that everybody may run")
def test_root_s_files_are_told_of_with_the_way_back(plain: Path) -> None:
    project = Path(f"/tmp/denzel-sudo-{os.getpid()}")
    shutil.copytree(plain, project, symlinks=True)
    try:
        (project / ".venv").unlink()
        for path in (project, *project.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        assert make(project, "install").returncode == 0  # as root
        for words in (["dev"], ["install"], ["test"]):
            done = as_nobody(project, *words)
            assert done.returncode != 0
            assert ".denzel and .venv belong to another user, as after a command with sudo" in done.stderr
            assert f"sudo chown -R {NOBODY}:{NOBODY} .denzel .venv" in done.stderr
        for top in (".denzel", ".venv"):
            for path in (project / top, *(project / top).rglob("*")):
                os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        assert "belong" not in as_nobody(project, "install").stderr
    finally:
        shutil.rmtree(project)
