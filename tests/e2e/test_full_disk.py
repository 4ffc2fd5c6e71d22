"""A disk of Redis that is full: /ready and the commands name the cause and what to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import requests

from tests.e2e.project import Project
from tests.support.waiting import eventually

FULL = "disk of Redis' data is full: make room on it"
SMALL = """
services:
  redis:
    volumes: ["small:/redis-data"]
volumes:
  small:
    driver_opts: {type: tmpfs, device: tmpfs, o: "size=8m,mode=1777"}
"""


@pytest.fixture
def project(new_project: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A launched project whose Redis writes to a disk of 8 MB."""
    project = new_project(tmp_path_factory.mktemp("full"), response="async")
    project.use_pipeline("doubling")
    (project.path / "docker-compose.user.yml").write_text(SMALL)
    project.set_env(COMPOSE_FILE="docker-compose.yml:docker-compose.user.yml")
    project.launch()
    return project


def in_redis(project: Project, command: str) -> str:
    done = project.compose("exec", "--no-TTY", "redis", "sh", "-c", f"cd $REDIS_DIR && {command}")
    return done.out + done.err


def reason(project: Project) -> str:
    """What /ready says."""
    return requests.get(f"{project.url}/ready", timeout=10).json()["reason"] or ""


def test_the_cause_is_named(project: Project) -> None:
    task_id = project.predict_async({"data": {"a": 1}})
    assert project.wait(task_id)["status"] == "SUCCESS"
    in_redis(project, "cat /dev/zero > filling")
    eventually(lambda: FULL in reason(project), lambda: reason(project), 60, interval=0.5)
    refused = project.predict({"data": {"a": 1}})
    assert refused.status_code == 503
    assert FULL in refused.text
    found = eventually(lambda: (out := project.make("doctor").out) and FULL in out and out, "doctor says so", 90)
    assert "rm " not in found
    assert FULL in project.refuse("start").replace("The disk", "disk")
    in_redis(project, "rm filling")
    # Docker believes it to be unwell until it looks again, every 15 s
    eventually(lambda: project.make("start").code == 0, "it starts", 90, interval=1)
    assert project.status(task_id)["status"] == "SUCCESS"
