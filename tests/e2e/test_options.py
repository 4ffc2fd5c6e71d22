"""Two projects side by side with different options, then each with what it was not baked with.

The first is synchronous, on RabbitMQ, and belongs to root (or whoever runs the tests); the second is asynchronous, on
Redis, and belongs to an ordinary user. The tests are one story and build on each other.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.e2e.project import OrdinaryUser, Project
from tests.support import markdown
from tests.support.docker import docker_names
from tests.support.http import answers
from tests.support.ports import free_port
from tests.support.receivers import Inbox
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

REQUEST = {"data": {"a": 2, "b": 4.5}}
PREDICTIONS = {"a": 4, "b": 9.0}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that every user may enter, with a space in its name."""
    folder = Path(tempfile.mkdtemp(prefix="denzel options "))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def first(folder: Path, new_project: Callable[..., Project]) -> Project:
    project = new_project(folder, response="sync", broker="rabbitmq")
    project.use_pipeline("doubling")
    return project


@pytest.fixture(scope="module")
def second(folder: Path, new_project: Callable[..., Project]) -> Project:
    project = new_project(folder, response="async", broker="redis")
    project.use_pipeline("doubling")
    if os.geteuid() == 0 and Path("/var/run/docker.sock").exists():
        project.user = OrdinaryUser.create(folder / "home")
        project.user.own(project.path)
    return project


def services_up(project: Project, workers: int = 1) -> str:
    """What `make status` prints when everything is up, RabbitMQ and the proxy where they are used."""
    files = project.env("COMPOSE_FILE")
    names = [f"worker@{project.slug}", *(f"worker-{number}@{project.slug}" for number in range(2, workers + 1))]
    return (
        "Services:\n"
        "\tdenzel - UP\n"
        f"\tmonitor - UP [ Port: {project.monitor_port} ]\n"
        f"\tapi - UP [ Port: {project.api_port} ]\n"
        "\tredis - UP\n"
        + ("\trabbitmq - UP\n" if "rabbitmq" in files else "")
        + (f"\tproxy - UP [ Port: {project.env('PROXY_PORT')} ]\n" if "proxy" in files else "")
    ) + "".join(f"Worker: {name} - UP\n" for name in names)


def running(project: Project) -> set[str]:
    """The services of the project that have a running container."""
    return set(project.compose("ps", "--services", "--status", "running").out.split())


def task_in_the_monitor(project: Project, task_id: str) -> dict:
    """What the monitor knows of a task that has ended, which it is told a moment later."""
    url = f"http://127.0.0.1:{project.monitor_port}/api/task/info/{task_id}"

    def ask() -> requests.Response:
        return requests.get(url, auth=("admin", project.env("MONITOR_PASSWORD")), timeout=10)

    def ended() -> dict | None:
        response = ask()
        known = response.status_code == 200 and response.json()["state"] not in ("PENDING", "RECEIVED", "STARTED")
        return response.json() if known else None

    return eventually(ended, lambda: f"it knows of the end: {ask().text}", interval=0.3)


# --------------------------------------------------------------------------------------------------- launch


def test_two_projects_launch_at_the_same_time(first: Project, second: Project) -> None:
    with ThreadPoolExecutor() as threads:
        for project, output in zip((first, second), threads.map(Project.launch, (first, second)), strict=True):
            assert f"{project.slug} is UP" in output.out
            assert project.shown_status() == services_up(project)


def test_the_chosen_broker_runs_beside_the_four(first: Project, second: Project) -> None:
    assert running(first) == {"api", "denzel", "monitor", "redis", "rabbitmq"}
    assert running(second) == {"api", "denzel", "monitor", "redis"}
    assert "Connected to amqp://denzel:**@rabbitmq:5672//" in first.run("logs", "SERVICE=denzel").out
    assert "Connected to redis://" in second.run("logs", "SERVICE=denzel").out


def test_the_chosen_response_mode_is_the_first_one(first: Project, second: Project, inbox: Inbox) -> None:
    response = first.predict(REQUEST)
    assert (response.status_code, response.json()) == (200, PREDICTIONS)
    task_id = second.predict_async({**REQUEST, "callback_uri": inbox.url})
    assert inbox.wait_for(task_id) == PREDICTIONS
    assert second.wait(task_id)["result"] == PREDICTIONS


def test_one_project_knows_nothing_of_the_other(first: Project, second: Project) -> None:
    task_id = second.predict_async(REQUEST)
    assert requests.get(f"{first.url}/status/{task_id}", timeout=10).status_code == 404
    assert second.wait(task_id)["status"] == "SUCCESS"


def test_the_containers_run_as_the_owner_of_the_folder(second: Project) -> None:
    if not second.user:
        pytest.skip("only root can be two users")
    assert second.run("shell", stdin="id -u\n").out.strip() == str(second.user.uid)
    assert (second.path / "logs/worker.log").stat().st_uid == second.user.uid
    assert (second.path / ".env").stat().st_uid == second.user.uid


# -------------------------------------------------------------------------------------------------- RabbitMQ


def test_the_other_mode_works_on_rabbitmq_too(first: Project, inbox: Inbox) -> None:
    first.run("response", "MODE=async")
    task_id = first.predict_async({**REQUEST, "callback_uri": inbox.url})
    assert inbox.wait_for(task_id) == PREDICTIONS
    assert task_in_the_monitor(first, task_id)["state"] == "SUCCESS"


def test_logs_and_shell_know_rabbitmq_where_it_is_in_use(first: Project, second: Project) -> None:
    assert "rabbitmq-1" in first.run("logs", "SERVICE=rabbitmq").out
    assert first.run("shell", "SERVICE=rabbitmq", stdin="id -un\n").out.strip() == "rabbitmq"
    assert second.refuse("logs", "SERVICE=rabbitmq").startswith("SERVICE must be one of api, denzel, monitor, redis")
    everything = first.run("logs").out
    for secret in ("RABBITMQ_PASSWORD", "REDIS_PASSWORD", "MONITOR_PASSWORD", "CALLBACK_SECRET", "GRAFANA_PASSWORD"):
        assert first.env(secret) not in everything


def test_what_is_accepted_while_rabbitmq_is_away_is_done_when_it_is_back(first: Project) -> None:
    first.compose("kill", "rabbitmq")
    task_id = first.predict_async(REQUEST)
    first.compose("start", "rabbitmq")
    assert first.wait(task_id, timeout=60)["result"] == PREDICTIONS
    assert first.wait(first.predict_async(REQUEST))["result"] == PREDICTIONS


# --------------------------------------------------------------------------------------------- switched later


def test_rabbitmq_is_switched_off_and_what_waits_is_not_lost(first: Project) -> None:
    first.compose("stop", "denzel")
    task_id = first.predict_async(REQUEST)
    first.set_env(COMPOSE_FILE="docker-compose.yml")
    assert f"{first.slug} is UP" in first.run("restart").out
    assert running(first) == {"api", "denzel", "monitor", "redis"}
    assert first.wait(task_id)["result"] == PREDICTIONS
    first.run("response", "MODE=sync")
    assert first.predict(REQUEST).json() == PREDICTIONS


def test_rabbitmq_and_the_proxy_are_switched_on(second: Project) -> None:
    port = free_port()
    second.compose("stop", "denzel")
    task_id = second.predict_async(REQUEST)
    files = ["docker-compose.yml", "docker-compose.rabbitmq.yml", "docker-compose.proxy.yml"]
    second.set_env(COMPOSE_FILE=":".join(files), PROXY_PORT=str(port), MAX_BODY_BYTES="20000")
    assert f"  Proxy    http://127.0.0.1:{port}\n" in second.run("restart").out
    assert running(second) == {"api", "denzel", "monitor", "redis", "rabbitmq", "proxy"}
    assert second.shown_status() == services_up(second)
    assert second.wait(task_id)["result"] == PREDICTIONS
    assert "Connected to amqp://" in second.run("logs", "SERVICE=denzel").out


def test_the_proxy_passes_requests_on(second: Project) -> None:
    url = f"http://127.0.0.1:{second.env('PROXY_PORT')}"
    answer = requests.post(f"{url}/predict", json=REQUEST, headers={"Prefer": "wait=20"}, timeout=30)
    assert (answer.status_code, answer.json()) == (200, PREDICTIONS)
    assert answer.headers["Preference-Applied"] == "wait=20"
    assert requests.get(f"{url}/status/{answer.headers['Denzel-Task-Id']}", timeout=10).json()["status"] == "SUCCESS"
    assert requests.post(f"{url}/predict", data=b"{", timeout=10).json()["title"] == "Malformed JSON"
    assert "GET /status/" in second.run("logs", "SERVICE=proxy").out


def test_the_proxy_refuses_what_the_api_would_with_the_same_words(second: Project) -> None:
    answers = [
        requests.post(f"http://127.0.0.1:{port}/predict", data=b"x" * 30_000, timeout=10)
        for port in (second.api_port, second.env("PROXY_PORT"))
    ]
    assert [answer.status_code for answer in answers] == [413, 413]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["Content-Type"] == "application/json"


def test_the_proxy_says_when_the_api_is_away_and_finds_it_again(second: Project) -> None:
    url = f"http://127.0.0.1:{second.env('PROXY_PORT')}/ping"
    second.compose("stop", "api")
    answer = requests.get(url, timeout=20)
    assert (answer.status_code, answer.json()["title"]) == (503, "Service unavailable")
    assert answer.headers["Retry-After"] == "1"
    second.compose("rm", "--force", "api")  # the next one may have another address
    second.run("start")
    assert requests.get(url, timeout=20).text == "pong"


def test_a_taken_proxy_port_is_refused_before_anything_is_stopped(second: Project, first: Project) -> None:
    port = second.env("PROXY_PORT")
    second.set_env(PROXY_PORT=str(first.api_port))
    said = second.refuse("restart")
    assert said.startswith(
        f"Port {first.api_port} is already taken! Set an available port in .env, for example PROXY_PORT="
    )
    second.set_env(PROXY_PORT=port)
    assert second.shown_status() == services_up(second)


# -------------------------------------------------------------------------------------------- scale, move


def test_scale_starts_more_workers_and_stops_them_again(second: Project) -> None:
    said = second.run("scale", "WORKERS=2").out
    assert said.endswith(f"Worker: worker@{second.slug} - UP\nWorker: worker-2@{second.slug} - UP\n")
    assert second.shown_status() == services_up(second, workers=2)
    assert second.env("WORKERS") == "2"
    assert f"worker-2@{second.slug}" in second.run("logworker", "WORKER=2").out
    assert f"worker-2@{second.slug}" not in second.run("logworker").out
    assert second.run("scale", "WORKERS=1").out.endswith(f"Worker: worker@{second.slug} - UP\n")
    assert second.shown_status() == services_up(second)


def test_a_project_that_was_moved_starts_again_with_its_tasks(first: Project, folder: Path) -> None:
    task_id = first.predict(REQUEST, headers={"Prefer": "respond-async"}).headers["Denzel-Task-Id"]
    assert first.wait(task_id)["status"] == "SUCCESS"
    first.run("stop")
    place = folder / "somewhere else" / "renamed"
    place.parent.mkdir()
    first.path = first.path.rename(place)
    assert f"{first.slug} is UP" in first.run("start").out
    assert first.status(task_id)["result"] == PREDICTIONS
    assert first.predict(REQUEST).json() == PREDICTIONS


def test_a_copy_beside_the_original_is_told_to_take_another_name(second: Project, folder: Path) -> None:
    copy = Project(folder / "copy", second.slug, free_port(), free_port(), second.user)
    shutil.copytree(second.path, copy.path, symlinks=True)
    if copy.user:
        copy.user.own(copy.path)
    said = copy.refuse("launch", f"API_PORT={copy.api_port}", f"MONITOR_PORT={copy.monitor_port}")
    assert said == (
        f"The folder {second.path} has launched a project of the same name. "
        "Give one of them another COMPOSE_PROJECT_NAME in its .env."
    )


# ------------------------------------------------------------------------------------------------- on a server


@pytest.fixture
def one_container(second: Project, inbox: Inbox) -> Iterator[str]:
    """The URL of the image run as the README says, and nothing else."""
    (block,) = (
        block for block in markdown.blocks(second.path / "README.md") if block.attributes.get("run") == "inline"
    )
    port, name = free_port(), f"{second.slug}_alone"
    options = f"--detach --name {name} --add-host host.docker.internal:host-gateway -e CALLBACK_ALLOW={inbox.address}"
    command = block.text.replace(":8000:", f":{port}:").replace("docker run --rm", f"docker run {options}")
    subprocess.run(["bash", "-e"], input=command, cwd=second.path, check=True, capture_output=True, text=True)
    url = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: answers(f"{url}/ready"), "the service is ready", 30, interval=0.2)
        yield url
    finally:
        done = subprocess.run(["docker", "logs", name], capture_output=True, text=True)
        print(done.stdout, done.stderr)
        subprocess.run(["docker", "rm", "--force", name], check=True, capture_output=True)


def test_the_image_alone_serves_the_model_without_a_queue(one_container: str, second: Project, inbox: Inbox) -> None:
    url = one_container
    answer = requests.post(f"{url}/predict", json=REQUEST, timeout=10)
    assert (answer.status_code, answer.json()) == (200, PREDICTIONS)
    assert requests.post(f"{url}/predict", json={}, timeout=10).json()["description"] == "data is missing"

    body = {**REQUEST, "callback_uri": inbox.url}
    accepted = requests.post(f"{url}/predict", json=body, headers={"Prefer": "respond-async"}, timeout=10)
    task_id = accepted.json()["data"]["task_id"]
    assert inbox.wait_for(task_id) == PREDICTIONS
    status = requests.get(url + accepted.headers["Location"], timeout=10).json()
    assert (status["status"], status["result"]) == ("SUCCESS", PREDICTIONS)

    began = time.monotonic()
    stopped = subprocess.run(["docker", "stop", f"{second.slug}_alone"], capture_output=True, text=True)
    assert stopped.returncode == 0
    assert time.monotonic() - began < 8, "it ends by SIGTERM and need not be killed"


def test_the_image_alone_runs_by_the_commands_of_the_readme_as_they_stand_there(second: Project) -> None:
    (block,) = (
        block for block in markdown.blocks(second.path / "README.md") if block.attributes.get("run") == "inline"
    )
    assert re.fullmatch(r"docker build [^\n]*\ndocker run [^\n]* -p [^\n]*\n", block.text)
    if port_is_taken(8000):
        pytest.skip("the commands need port 8000, on which something else listens")
    running = subprocess.Popen(
        ["bash", "-e"], cwd=second.path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
    )  # fmt: skip
    with running:
        assert running.stdin
        running.stdin.write(block.text)
        running.stdin.close()
        try:
            eventually(lambda: answers("http://127.0.0.1:8000/ready") or running.poll() is not None, "it is ready", 120)
            answer = requests.post("http://127.0.0.1:8000/predict", json=REQUEST, timeout=10)
            assert (answer.status_code, answer.json()) == (200, PREDICTIONS)
        finally:
            os.killpg(running.pid, signal.SIGINT)  # as Ctrl-C does
            output = running.stdout.read() if running.stdout else ""
            running.wait(30)
    assert "superuser" not in output
    assert not docker_names("ps", "--all", "--quiet", "--filter", f"ancestor={second.slug}", "--filter", "publish=8000")


def port_is_taken(number: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except OSError:
            return True
    return False


def test_a_project_is_deployed_as_its_readme_says(first: Project, folder: Path) -> None:
    """Without the template, Python and make: Docker alone."""
    blocks = {block.attributes.get("run"): block.text for block in markdown.blocks(first.path / "README.md")}

    def bash(script: str, cwd: Path) -> str:
        done = subprocess.run(["bash", "-ex"], input=script, cwd=cwd, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    bash(blocks["pack"], first.path)
    first.run("shutdown", "PURGE=1")
    server = folder / "server"
    server.mkdir()
    shutil.move(first.path.parent / f"{first.slug}.tar.gz", server)

    first.path = server / first.slug
    text = blocks["unpack"].replace(":8000/", f":{first.api_port}/")
    assert '"ready":true' in bash(text, server)
    assert first.predict(REQUEST).json() == PREDICTIONS
    assert not (first.path / ".venv").exists()
    assert first.shown_status() == services_up(first), "the commands work there too"


def test_purge_leaves_nothing_of_what_was_switched_on(first: Project, second: Project) -> None:
    for project in (first, second):
        project.run("shutdown", "PURGE=1")
        for words in (["ps", "--all"], ["volume", "ls"], ["network", "ls"]):
            assert not docker_names(*words, "--quiet", "--filter", f"name={project.slug}")
    assert {"rabbitmq:4", "nginx:1"} <= docker_names("images", "--format", "{{.Repository}}:{{.Tag}}")
