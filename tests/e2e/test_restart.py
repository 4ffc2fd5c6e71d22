"""Restarts and stops while clients are at work: nothing that the service has taken on is cut off or lost.

The tests are one story and build on each other.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import requests

from tests.e2e.project import Project
from tests.support.clients import Clients
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

SERVICES = ("api", "denzel", "monitor", "redis")
# What a client may hear while a container is away; a refused request was not accepted.
REFUSALS = {"refused", 503}


@pytest.fixture(scope="module", params=["on", "off"], ids=["direct", "through the queue"])
def project(
    request: pytest.FixtureRequest, new_project: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """Once with requests that are handed straight to the processes, once with all of them in the queue."""
    project = new_project(tmp_path_factory.mktemp("restart"))
    project.set_env(DIRECT=request.param)
    project.use_pipeline("versioned")
    project.launch()
    return project


@contextmanager
def clients_of(project: Project) -> Iterator[Clients]:
    """Clients that ask all the while; when it ends, everything that was accepted has its right answer."""
    with Clients(project.url, kept=6, fresh=2, later=2, think=0.03, forwarded=True) as clients:
        wait_for_answers(clients)
        yield clients
        wait_for_answers(clients)
    print(dict(clients.outcomes), f"{len(clients.accepted)} accepted, slowest {clients.slowest:.1f} s")
    with requests.Session() as session:
        for task_id, body in clients.accepted.items():
            status = ended(session, f"{project.url}/status/{task_id}")
            assert (status["status"], status["result"]["answer"]) == ("SUCCESS", body)


def wait_for_answers(clients: Clients) -> None:
    """All clients are being answered."""
    wanted = clients.answered + 50
    eventually(lambda: clients.answered >= wanted, lambda: f"all are answered: {clients.outcomes}", 30)


def ended(session: requests.Session, url: str) -> dict:
    """The status of a task once it has ended."""

    def has_ended() -> dict | None:
        status = session.get(url, timeout=10).json()
        return None if status["status"] in ("PENDING", "STARTED", "RETRY") else status

    return eventually(has_ended, f"{url} tells the end", 60)


def lives(project: Project) -> dict[str, str]:
    """Which container of each service runs, and since when."""
    found = {}
    for service in SERVICES:
        words = ["docker", "inspect", "--format", "{{.Id}} {{.State.StartedAt}}", f"{project.slug}-{service}-1"]
        found[service] = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return found


def is_direct(project: Project) -> bool:
    """Whether a request went straight to a process: a record that was made by the queue says where its reply goes."""
    answer = requests.post(f"{project.url}/predict", json={"number": 1}, timeout=10)
    task_id = answer.headers["Denzel-Task-Id"]
    code = f"redis.Redis.from_url(os.environ['REDIS_URL']).hget('denzel/{project.slug}:task:{task_id}', 'reply_to')"
    words = ["docker", "exec", f"{project.slug}-api-1", "python", "-c", f"import os, redis; print({code})"]
    assert requests.get(f"{project.url}/status/{task_id}", timeout=10).json()["status"] == "SUCCESS"
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip() == "None"


def test_requests_go_the_way_that_is_set(project: Project, request: pytest.FixtureRequest) -> None:
    if "queue" in request.node.name:
        assert not any(is_direct(project) for _ in range(3))
    else:
        eventually(lambda: is_direct(project), "they go straight to the process")


def edit(project: Project, old: str, new: str) -> None:
    path = project.path / "app/logic/pipeline.py"
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def versions(project: Project) -> tuple[int, int]:
    """The versions that verify and answer now."""
    answer = project.predict({"number": 1}).json()
    return answer["verified"], answer["version"]


# --------------------------------------------------------------------------------------------------- restart


def test_new_code_is_taken_up_without_one_refusal(project: Project) -> None:
    before = lives(project)
    with clients_of(project) as clients:
        edit(project, "VERSION = 1\n", "VERSION = 2\n")
        said = project.run("restart").out
        assert versions(project) == (2, 2)
    assert said.startswith("Taking up the code in app/ while the service runs\n")
    assert f"{project.slug} is UP" in said
    assert set(clients.outcomes) == {200}
    assert set(clients.versions) == {1, 2}
    assert lives(project) == before


def test_new_code_that_does_not_load_leaves_the_old_at_work_until_it_is_corrected(project: Project) -> None:
    before = lives(project)
    with clients_of(project) as clients:
        edit(project, "    return VERSION\n", "    return VERSION + no_number\n")
        said = project.refuse("restart")
        assert said.startswith(
            f"Worker: worker@{project.slug} - ERROR\n"
            "  load_model raised NameError: name 'no_number' is not defined (app/logic/pipeline.py, line "
        )
        assert "\nThe version from before goes on serving: correct app/logic/pipeline.py, " in said
        assert f"Worker: worker@{project.slug} - UP\n" in project.run("status").out
        assert versions(project) == (2, 2)

        edit(project, "no_number", "1")
        project.run("restart")
        assert versions(project) == (2, 3)
        edit(project, " + 1\n", "\n")
    assert set(clients.outcomes) == {200}
    assert lives(project) == before


def test_settings_are_applied_in_new_containers_and_nothing_is_cut_off_or_lost(project: Project) -> None:
    before = lives(project)
    project.set_env(MAX_BODY_BYTES="1000")
    with clients_of(project) as clients:
        said = project.run("restart").out
        assert project.predict({"data": "x" * 2000}).status_code == 413
    assert "Taking up" not in said
    assert set(clients.outcomes) <= {200, 202} | REFUSALS
    after = lives(project)
    assert after["redis"] == before["redis"]
    assert not {after["api"], after["denzel"]} & {before["api"], before["denzel"]}
    assert versions(project) == (2, 2)


# ------------------------------------------------------------------------------------------------------ stop


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_that_is_told_to_end_cuts_off_no_request(project: Project, service: str) -> None:
    name = f"{project.slug}-{service}-1"
    with clients_of(project) as clients:
        began = time.monotonic()
        subprocess.run(["docker", "stop", name], check=True, capture_output=True)
        took = time.monotonic() - began
        code = subprocess.run(
            ["docker", "inspect", "--format", "{{.State.ExitCode}}", name], capture_output=True, text=True, check=True
        ).stdout.strip()
        subprocess.run(["docker", "start", name], check=True, capture_output=True)
    assert code != "137", "it need not be killed"
    assert took < 15
    assert set(clients.outcomes) <= {200, 202} | (REFUSALS if service in ("api", "redis") else set())


def test_stop_and_start_lose_nothing(project: Project) -> None:
    with clients_of(project) as clients:
        began = time.monotonic()
        project.run("stop")
        took = time.monotonic() - began
        project.run("start")
    assert took < 15, "clients that would wait for 20 s are answered while there are workers"
    assert set(clients.outcomes) <= {200, 202} | REFUSALS
