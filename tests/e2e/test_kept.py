"""What `docker compose down -v` leaves: Redis' data, which PURGE alone removes; and those of earlier versions."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from tests.e2e.project import Project


@pytest.fixture
def project(new_project: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A skeleton of which nothing runs, and to which nothing was done."""
    return new_project(tmp_path_factory.mktemp("kept"))


def up(project: Project) -> None:
    output = project.compose("up", "--detach", "--wait", "redis")
    assert output.code == 0, str(output) + project.logs()


def cli(project: Project, *words: str) -> str:
    command = 'REDISCLI_AUTH="$REDIS_PASSWORD" redis-cli "$@"'
    return project.compose("exec", "--no-TTY", "redis", "sh", "-c", command, "sh", *words).out.strip()


def volumes(project: Project) -> list[str]:
    words = ["docker", "volume", "ls", "--quiet", "--filter", f"name={project.slug}"]
    return subprocess.run(words, capture_output=True, text=True).stdout.split()


def test_plain_compose_starts_and_its_down_with_volumes_leaves_the_data(project: Project) -> None:
    up(project)
    assert cli(project, "SET", "key", "value") == "OK"
    assert project.compose("down", "--volumes").code == 0
    assert volumes(project) == []
    up(project)
    assert cli(project, "GET", "key") == "value"
    project.run("shutdown", "PURGE=1")
    assert not (project.path / "redis-data" / project.slug).exists()
    up(project)
    assert cli(project, "GET", "key") == ""


def test_what_an_earlier_version_had_in_its_volume_is_taken_over_once(project: Project) -> None:
    volume, name = f"{project.slug}_redis", f"{project.slug}_earlier"
    words = ["run", "--detach", "--rm", "--name", name, "--user", "redis", "--volume", f"{volume}:/data", "redis:8"]
    subprocess.run(["docker", *words, "redis-server", "--appendonly", "yes", "--save", ""], check=True)
    try:
        set_key = "until redis-cli set key value; do sleep 0.1; done; redis-cli shutdown nosave"
        subprocess.run(["docker", "exec", name, "sh", "-c", set_key], capture_output=True)
    finally:
        subprocess.run(["docker", "wait", name], capture_output=True)
    up(project)
    assert cli(project, "GET", "key") == "value"
    cli(project, "SET", "key", "later")
    project.compose("restart", "redis")
    up(project)
    assert cli(project, "GET", "key") == "later"
    assert volume in volumes(project), "it is still there"
    project.compose("down", "--volumes")
    up(project)
    assert cli(project, "GET", "key") == "later"


def test_git_does_not_see_the_data(project: Project) -> None:
    up(project)
    words = ["git", "-c", "init.defaultBranch=main", "init", "--quiet", str(project.path)]
    subprocess.run(words, check=True)
    status = ["git", "-C", str(project.path), "status", "--porcelain", "--untracked-files=all"]
    shown = subprocess.run(status, capture_output=True, text=True, check=True).stdout
    assert "redis-data/.gitignore" in shown
    assert f"redis-data/{project.slug}" not in shown
