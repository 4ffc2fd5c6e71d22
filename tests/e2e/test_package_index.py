"""A package index of a company's own in a real build: all layers use it, and its password stays in none."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.project import Project
from tests.support.docker import docker_names
from tests.support.house_index import PASSWORD, HouseIndex, house_index

HOST = "index.example.com"
_GATEWAY = ("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseIndex]:
    """An index on this machine, at the address by which containers reach it."""
    (host,) = docker_names(*_GATEWAY)
    with house_index(
        tmp_path_factory.mktemp("index"), "house-lib", "house-framework", host=host, known_as=HOST
    ) as index:
        yield index


@pytest.fixture(scope="module")
def project(
    new_project: Callable[..., Project], index: HouseIndex, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """A project whose packages this index alone has."""
    project = new_project(tmp_path_factory.mktemp("house"))
    new = f"# {project.slug}: not from the cache of an earlier build\n"
    (project.path / "requirements.txt").write_text(f"{new}house-lib\n")
    (project.path / "requirements-denzel.txt").write_text(f"{new}house-framework\n")
    shutil.copy(index.ca, project.path / "ca.pem")
    (host,) = docker_names(*_GATEWAY)
    mine = f"services:\n  api:\n    build:\n      extra_hosts: ['{HOST}:{host}']\n"
    (project.path / "docker-compose.user.yml").write_text(mine)
    project.set_env(PIP_INDEX_URL=index.url, COMPOSE_FILE="docker-compose.yml:docker-compose.user.yml")
    return project


@pytest.fixture(autouse=True)
def shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain Docker Compose puts variables of the shell over those of .env."""
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CERT"):
        monkeypatch.delenv(name, raising=False)


def holds(command: list[str], text: str) -> bool:
    """Whether what a command prints, of whatever length, holds the text."""
    needle, kept = text.encode(), b""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        found = False
        while part := process.stdout.read(1 << 20):  # to its end: the command must succeed
            found = found or needle in kept + part
            kept = part[-len(needle) :]
    assert process.returncode == 0
    return found


def test_a_certificate_that_is_not_accepted_is_told_with_its_setting(project: Project) -> None:
    refused = project.refuse("launch", f"API_PORT={project.api_port}", f"MONITOR_PORT={project.monitor_port}")
    assert (
        "Building the image failed. The certificate of the package index is not accepted. PIP_CERT in .env" in refused
    )
    assert PASSWORD not in refused


def test_a_certificate_that_is_not_there_is_told_before_anything_is_built(project: Project) -> None:
    project.set_env(PIP_CERT="no.pem")
    refused = project.refuse("launch", f"API_PORT={project.api_port}", f"MONITOR_PORT={project.monitor_port}")
    assert refused.startswith("PIP_CERT in .env names no.pem, which cannot be read")


def test_all_layers_take_their_packages_from_it_and_none_holds_its_password(
    project: Project, index: HouseIndex
) -> None:
    project.set_env(PIP_CERT="ca.pem")
    built = project.compose("--progress", "plain", "build", "api")
    assert built.code == 0, built
    assert {"/simple/house-framework/", "/simple/house-lib/"} <= set(index.asked)
    show = ["docker", "run", "--rm", project.slug, "python", "-c", "import house_lib, house_framework"]
    assert subprocess.run(show).returncode == 0
    assert PASSWORD not in built.out + built.err
    assert holds(["docker", "image", "save", project.slug], "house_framework"), "the test sees what is in layers"
    assert not holds(["docker", "image", "save", project.slug], PASSWORD)
    assert not holds(["docker", "image", "history", "--no-trunc", project.slug], PASSWORD)
    assert not holds(["docker", "image", "inspect", project.slug], PASSWORD)


def test_no_container_has_it(project: Project) -> None:
    config = project.compose("config", "--format", "json")
    assert config.code == 0, config
    assert project.env("REDIS_PASSWORD") in config.out, "the test sees what containers get"
    assert PASSWORD not in config.out
