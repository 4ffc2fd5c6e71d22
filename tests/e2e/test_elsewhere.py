"""A Docker daemon that does not see the project's folder, as from inside a devcontainer with the host's socket."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bakery import bake
from tests.support.docker import docker_names
from tests.support.ports import free_port

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare"), reason="a folder of one's own to see needs root"
)


def make_where_docker_does_not_see(project: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of a copy of the project, in a folder that is mounted for this command alone."""
    script = 'mount -t tmpfs none "$1" && cp -a "$2" "$1/it" && folder=$1 && shift 2 && exec make -C "$folder/it" "$@"'
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", str(folder), str(project), *words],
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_a_folder_that_docker_does_not_see_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    slug = f"denzel_elsewhere_{os.getpid()}"
    project = bake(tmp_path / "baked", project_slug=slug, example="none")
    seen_here_alone = tmp_path / "mounted"
    seen_here_alone.mkdir()
    ports = ("API_PORT=23451", "MONITOR_PORT=23452")
    done = make_where_docker_does_not_see(project, seen_here_alone, "launch", *ports)
    assert done.returncode != 0
    assert f"Docker does not see the folder {seen_here_alone}/it: its daemon runs on another machine" in done.stderr
    assert "Building" not in done.stdout
    assert list(seen_here_alone.iterdir()) == []
    assert not {name for name in docker_names("ps", "--all", "--format", "{{.Names}}") if slug in name}
    assert slug not in docker_names("image", "ls", "--format", "{{.Repository}}")


@pytest.fixture
def launched(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A project of which a container runs that was launched where the folder has another path; and its id."""
    slug = f"denzel_elsewhere_{os.getpid()}"
    project = bake(tmp_path / "baked", project_slug=slug, example="none")
    text = (project / ".env").read_text()
    for name, old in (("API_PORT", 8000), ("MONITOR_PORT", 5555)):
        text = text.replace(f"{name}={old}\n", f"{name}={free_port()}\n")
    (project / ".env").write_text(text)
    labels = {"project": slug, "service": "denzel", "oneoff": "False", "project.working_dir": "/of/the/host"}
    words = [word for name, value in labels.items() for word in ("--label", f"com.docker.compose.{name}={value}")]
    (container,) = docker_names(
        "run", "--detach", "--network", "none", *words, "--entrypoint", "sleep", "redis:8", "300"
    )
    yield project, container
    docker_names("rm", "--force", container)


@pytest.mark.parametrize(
    "words",
    [["start"], ["restart"], ["scale", "WORKERS=2"], ["updatepipreqs"], ["updatereqs"], ["e2e"]],
    ids=lambda words: words[0],
)
def test_whatever_would_create_containers_refuses(launched: tuple[Path, str], tmp_path: Path, words: list[str]) -> None:
    project, container = launched
    (tmp_path / "mounted").mkdir()
    done = make_where_docker_does_not_see(project, tmp_path / "mounted", *words)
    assert done.returncode != 0
    assert f"Docker does not see the folder {tmp_path}/mounted/it: its daemon" in done.stderr, done.stderr
    assert docker_names("ps", "--no-trunc", "--quiet", "--filter", f"name=^{project.name}") == set()
    assert container in docker_names("ps", "--no-trunc", "--quiet"), "what runs goes on"
    assert list((tmp_path / "mounted").iterdir()) == []
