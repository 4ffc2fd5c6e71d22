"""A Docker daemon that does not see the project's folder, as from inside a devcontainer with the host's socket."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.bakery import bake
from tests.support.docker import docker_names


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="a folder of one's own to see needs root")
def test_a_folder_that_docker_does_not_see_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    slug = f"denzel_elsewhere_{os.getpid()}"
    project = bake(tmp_path / "baked", project_slug=slug, example="none")
    seen_here_alone = tmp_path / "mounted"
    seen_here_alone.mkdir()
    ports = "API_PORT=23451 MONITOR_PORT=23452"
    script = f'mount -t tmpfs none "$1" && cp -a "$2" "$1/it" && exec make -C "$1/it" launch {ports}'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", str(seen_here_alone), str(project)],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode != 0
    assert f"Docker does not see the folder {seen_here_alone}/it: its daemon runs on another machine" in done.stderr
    assert "Building" not in done.stdout
    assert list(seen_here_alone.iterdir()) == []
    assert not {name for name in docker_names("ps", "--all", "--format", "{{.Names}}") if slug in name}
    assert slug not in docker_names("image", "ls", "--format", "{{.Repository}}")
