"""The docker tier beside a launched project, its failures, and its end; on real containers."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_denzel.tiers import sweep
from tests.plugin.conftest import Project, eventually
from tests.plugin.tiers.test_sessions import HANGS
from tests.support.ports import free_port

PREDICTS = """
    def test_it(denzel_service, callback_receiver):
        request = {"data": {"a": 1}, "callback_uri": callback_receiver.url}
        task_id = denzel_service.predict_async(request)
        assert callback_receiver.wait_for(task_id).json() == {"a": 2}

    def test_error(denzel_service):
        failed = denzel_service.wait(denzel_service.predict_async({"data": {"a": -1}}))
        assert failed["status"] == "FAILURE"
"""


def docker(*arguments: str, **options: Any) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True, **options).stdout


@pytest.fixture(autouse=True, scope="module")
def _docker(docker_image: str) -> None:
    """Every test here needs it."""


def things_of(name: str) -> list[str]:
    """The containers, networks and volumes of a Compose project."""
    label = f"label=com.docker.compose.project={name}"
    found = docker("ps", "--all", "--quiet", "--filter", label).split()
    found += docker("network", "ls", "--quiet", "--filter", label).split()
    return found + docker("volume", "ls", "--quiet", "--filter", label).split()


def sessions_of(project: Project) -> set[str]:
    """The Compose projects of test sessions of this project alone: others may run beside this one."""
    label = f"label=com.docker.compose.project.working_dir={project.root}"
    names = docker("ps", "--all", "--filter", label, "--format", '{{.Label "com.docker.compose.project"}}').split()
    return {name for name in names if name.startswith(sweep.PREFIX)}


@pytest.fixture
def launched(project: Project) -> Iterator[float]:
    """The project launched as by `docker compose up`, under a name of its own; how long its start took."""
    project.set_env("API_PORT", free_port())
    project.set_env("MONITOR_PORT", free_port())
    for folder in ("logs", "redis-data"):  # the containers run as another user than this copy belongs to
        (project.root / folder).chmod(0o777)
    docker("compose", "build", "api", cwd=project.root)
    began = time.monotonic()
    docker("compose", "up", "--detach", "--wait", "redis", "denzel", "api", cwd=project.root)
    yield time.monotonic() - began
    docker("compose", "down", "--volumes", "--timeout", "1", cwd=project.root)


def state_of(name: str) -> dict[str, tuple[str, str, str]]:
    """Id, image and start of the containers of a Compose project, by service."""
    ids = docker("ps", "--quiet", "--no-trunc", "--filter", f"label=com.docker.compose.project={name}").split()
    return {
        container["Config"]["Labels"]["com.docker.compose.service"]: (
            container["Id"],
            container["Image"],
            container["State"]["StartedAt"],
        )
        for container in json.loads(docker("inspect", *ids))
    }


def test_a_launched_project_beside_it_is_not_disturbed(
    project: Project, launched: float, sessions: Callable[[], list[Path]]
) -> None:
    project.test(PREDICTS)
    project.test(PREDICTS, "test_more")
    before, image = state_of("doubling"), docker("image", "inspect", "--format", "{{.Id}}", "doubling")
    log = (project.root / "logs/worker.log").read_text()
    began = time.monotonic()
    result = project.run("tests", "--denzel-tier=docker", "-n2", "-p", "no:randomly")
    took = time.monotonic() - began
    result.assert_outcomes(passed=4)
    assert state_of("doubling") == before
    assert docker("image", "inspect", "--format", "{{.Id}}", "doubling") == image
    assert (project.root / "logs/worker.log").read_text() == log
    assert sessions() == []
    assert sessions_of(project) == set()
    assert len(things_of("doubling")) == 11  # three containers, four networks, four volumes
    print(f"\na warm session with four tests and -n2: {took:.1f} s; `docker compose up --wait` alone: {launched:.1f} s")


def test_a_warm_session_costs_little_more_than_the_containers(project: Project) -> None:
    """Measured in one run: `docker compose up -d --wait` and `down`, against pytest with one prediction."""
    project.test("def test_it(denzel_service):\n    assert denzel_service.predict({'data': {'a': 1}}) == {'a': 2}\n")
    project.set_env("API_PORT", free_port())
    for folder in ("logs", "redis-data"):  # the containers run as another user than this copy belongs to
        (project.root / folder).chmod(0o777)
    docker("compose", "build", "api", cwd=project.root)
    began = time.monotonic()
    docker("compose", "up", "--detach", "--wait", "redis", "denzel", "api", cwd=project.root)
    docker("compose", "down", "--volumes", "--timeout", "1", cwd=project.root)
    bare = time.monotonic() - began
    began = time.monotonic()
    project.run("tests", "--denzel-tier=docker").assert_outcomes(passed=1)
    warm = time.monotonic() - began
    print(f"\nup --wait and down: {bare:.1f} s; a warm session: {warm:.1f} s; ratio {warm / bare:.2f}")
    assert warm < 3 * bare


def test_an_image_that_does_not_build(project: Project, sessions: Callable[[], list[Path]]) -> None:
    project.write("requirements.sh", "echo 'E: Unable to locate package libnone1' >&2\nexit 100\n")
    project.test(PREDICTS)
    result = project.run("tests", "--denzel-tier=docker")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(
        [
            "The image doubling does not build:",
            "  E: Unable to locate package libnone1",
            "Building the image failed at requirements.sh: correct it and try again.",
            "The services of this run did not start; the first test that failed says why: "
            "The image doubling does not build:",
        ]
    )
    assert sessions() == []
    assert sessions_of(project) == set()


def test_an_image_that_is_not_there(project: Project) -> None:
    project.test(PREDICTS)
    result = project.run("tests", "--denzel-tier=docker", "--denzel-image=denzel-test.invalid/none:1")
    result.stdout.fnmatch_lines(
        [
            "The image cannot be had: denzel-test.invalid/none:1 (*). Build it (`make launch` does), "
            "or name one that exists: --denzel-image."
        ]
    )


def test_a_load_model_that_raises(project: Project) -> None:
    source = (project.root / "app/logic/pipeline.py").read_text()
    project.pipeline(
        source.replace('return {"factor": 2, "pid": os.getpid()}', 'raise OSError("model.pkl is missing")')
    )
    project.test("def test_it(denzel_worker):\n    pass\n")
    result = project.run("tests", "--denzel-tier=docker")
    result.stdout.fnmatch_lines(
        [
            "denzel cannot predict: load_model raised OSError: model.pkl is missing*.",
            "The end of its log:",
            "  |   OSError: model.pkl is missing",
        ]
    )
    assert sessions_of(project) == set()


def test_a_redis_that_does_not_start(project: Project) -> None:
    project.set_env("REDIS_MAXMEMORY", "lots")
    project.test(PREDICTS)
    result = project.run("tests", "--denzel-tier=docker")
    result.stdout.fnmatch_lines(["redis ended.", "The end of its log:", "  | *'maxmemory lots'*"])


def test_a_compose_file_that_is_wrong(project: Project) -> None:
    project.write("docker-compose.yml", "services: 7\n")
    project.test("def test_it(denzel_redis):\n    pass\n")
    result = project.run("tests", "--denzel-tier=docker")
    result.stdout.fnmatch_lines(
        ["The containers could not be started. What Docker Compose said:", "  | *services must be a mapping*"]
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_whatever_ends_pytest_the_containers_go(
    project: Project, sessions: Callable[[], list[Path]], number: signal.Signals
) -> None:
    project.test(HANGS.format(fixture="denzel_redis"))
    process = project.popen("tests", "--denzel-tier=docker")
    try:
        eventually((project.root / "started").exists, "the test has started", 120)
        (folder,) = sessions()
        assert len(things_of(sweep.PREFIX + folder.name)) == 9  # a container, four networks, four volumes
        process.send_signal(number)
        process.wait(60)
        eventually(lambda: not things_of(sweep.PREFIX + folder.name), "the containers are gone")
        eventually(lambda: sessions() == [], "the session is gone")
    finally:
        process.kill()
        process.communicate()


def test_pytest_killed_while_compose_is_at_work(project: Project, sessions: Callable[[], list[Path]]) -> None:
    project.test("def test_it(denzel_service):\n    pass\n")
    docker("compose", "build", "api", cwd=project.root)
    process = project.popen("tests", "--denzel-tier=docker")
    try:
        name = sweep.PREFIX + eventually(sessions, "the session is there", 60)[0].name
        eventually(lambda: things_of(name), "Compose has begun", 60)
        process.kill()
        eventually(lambda: sessions() == [], "the session is gone")
        time.sleep(3)
        assert things_of(name) == []
    finally:
        process.kill()
        process.communicate()


def test_a_rebuild_leaves_no_image_behind_but_those_with_a_name(project: Project) -> None:
    project.test("def test_it(denzel_worker): pass")

    def image_after(edit: str) -> str:
        project.write("app/logic/helper.py", edit)
        project.run("tests", "--denzel-tier=docker").assert_outcomes(passed=1)
        return docker("image", "inspect", "--format", "{{.Id}}", "doubling").strip()

    def is_there(image: str) -> bool:
        return subprocess.run(["docker", "image", "inspect", image], capture_output=True).returncode == 0

    first = image_after("one = 1")
    docker("tag", "doubling", "doubling-kept")
    try:
        second = image_after("two = 2")
        third = image_after("three = 3")
        assert len({first, second, third}) == 3
        assert [is_there(image) for image in (first, second, third)] == [True, False, True]
    finally:
        docker("image", "rm", "doubling-kept")
