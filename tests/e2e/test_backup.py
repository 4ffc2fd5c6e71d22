"""`make backup` and `make restore` of the containers' Redis: while they serve, and after everything is gone."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import requests

from tests.e2e.project import Project
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A launched project that answers with task ids."""
    project = new_project(tmp_path_factory.mktemp("backup"), response="async")
    project.use_pipeline("doubling")
    project.launch()
    return project


def accepted(project: Project, count: int) -> list[str]:
    """Tasks that wait, as no worker runs."""
    assert project.compose("stop", "denzel").code == 0
    return [project.predict_async({"data": {"a": number}}) for number in range(count)]


def backup(project: Project) -> str:
    """The file of a backup, as it is told."""
    said = project.run("backup").out
    found = re.search(r"^(backups/\S+\.zip): the data of the containers, \S+ MB of Redis \d", said, re.MULTILINE)
    assert found, said
    return found[1]


def test_everything_is_gone_and_is_there_again(project: Project) -> None:
    ids = accepted(project, 3)
    path = backup(project)
    assert "up" in project.compose("ps", "api").out.lower(), "it goes on"
    project.run("shutdown", "PURGE=1")
    said = project.run("restore", f"FILE={path}", "OF=containers").out
    assert 'Start with them: "make launch"' in said
    project.launch()
    assert [project.wait(task_id)["status"] for task_id in ids] == ["SUCCESS"] * 3


def test_a_running_service_gets_its_data_of_then(project: Project) -> None:
    ids = accepted(project, 2)
    path = backup(project)
    [later] = accepted(project, 1)
    said = project.run("restore", f"FILE={path}").out
    assert "What was there before is in before-restore-" in said
    assert " is UP" in said
    assert [project.wait(task_id)["status"] for task_id in ids] == ["SUCCESS"] * 2
    assert requests.get(f"{project.url}/status/{later}", timeout=10).status_code == 404


def test_of_what_is_stopped(project: Project) -> None:
    project.run("stop")
    backup(project)
    assert project.compose("ps", "--status", "running", "--quiet").out.strip() == ""
    project.run("start")


def reason(project: Project) -> str:
    """What /ready says."""
    return requests.get(f"{project.url}/ready", timeout=10).json()["reason"] or ""


def test_ready_names_damage_of_the_data(project: Project) -> None:
    """Redis has no port for that: its container says it to the API's."""
    project.compose("stop", "redis")
    file = "appendonlydir/*.incr.aof"
    words = ["run", "--rm", "--no-deps", "--no-TTY", "--entrypoint", "sh", "redis", "-c"]
    output = project.compose(*words, f'cd "$REDIS_DIR" && head -c 5000 /dev/zero >> $(ls {file} | tail -n 1)')
    assert output.code == 0, output
    project.compose("start", "redis")
    eventually(lambda: "end in zeros" in reason(project), lambda: reason(project), 60, interval=0.5)
    assert "make repair" in reason(project)
    project.run("repair")
    project.run("start")
    assert reason(project) == ""


def test_another_projects_is_refused(project: Project) -> None:
    path = backup(project)
    identity = project.env("PROJECT_ID")
    project.set_env(PROJECT_ID="another")
    try:
        assert "This backup is of another project" in project.refuse("restore", f"FILE={path}")
        assert " is UP" in project.run("restore", f"FILE={path}", "FORCE=1").out
    finally:
        project.set_env(PROJECT_ID=identity)
