"""What nobody can do from within a container, even who has got into it: tried in the running ones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from tests.e2e.project import Project
from tests.support.http import answers
from tests.support.receivers import Inbox
from tests.support.secrets import ACTING, Secrets, shown_by_monitor, shown_by_processes
from tests.support.waiting import eventually

# Says whether something answers: a name of the containers' name server, or an address.
CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3).close()
    print("reached")
except OSError as error:
    print(type(error).__name__)
"""


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with every container that this machine has an image of, launched."""
    project = new_project(tmp_path_factory.mktemp("hardening"), broker="rabbitmq")
    project.use_pipeline("doubling")
    project.set_env(COMPOSE_FILE=f"{project.env('COMPOSE_FILE')}:docker-compose.proxy.yml")
    project.launch()
    return project


def inspected(project: Project, service: str) -> dict[str, Any]:
    """What Docker tells of a service's container."""
    words = ["docker", "inspect", f"{project.slug}-{service}-1"]
    return json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)[0]


def run_in(project: Project, service: str, *words: str) -> str:
    """What a command prints in a service's container, however it ends."""
    output = project.compose("exec", "--no-TTY", service, *words)
    return (output.out + output.err).strip()


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of another machine: a web server at port 80, which knows no way to the networks of containers."""
    folder = tmp_path_factory.mktemp("outside")
    name, ours, its = f"dnz{os.getpid()}", "198.51.100.1", "198.51.100.2"
    if os.geteuid() or not shutil.which("ip"):
        pytest.skip("another machine can be made by root alone, with ip of iproute2")

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    ip("netns", "add", name)
    server = None
    try:
        ip("link", "add", name, "type", "veth", "peer", "name", "outside", "netns", name)
        ip("address", "add", f"{ours}/30", "dev", name)
        ip("link", "set", name, "up")
        ip("-netns", name, "address", "add", f"{its}/30", "dev", "outside")
        ip("-netns", name, "link", "set", "outside", "up")
        words = [
            "ip",
            "netns",
            "exec",
            name,
            sys.executable,
            "-m",
            "http.server",
            "80",
            "--bind",
            its,
            "--directory",
            str(folder),
        ]
        server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(lambda: answers(f"http://{its}/"), "the other machine answers")
        yield its
    finally:
        if server:
            server.terminate()
            server.wait()
        subprocess.run(["ip", "link", "delete", name], capture_output=True)
        ip("netns", "delete", name)


# ---- Networks -----------------------------------------------------------------------------------------------------


def reaches(project: Project, service: str, host: str, port: int) -> bool:
    """Whether a container with Python reaches a port; whatever its own packages are."""
    return run_in(project, service, "python", "-c", CONNECT, host, str(port)) == "reached"


def bash_asks(project: Project, service: str, host: str, port: int) -> str:
    """The head of what a web server answers to a container without Python."""
    script = (
        f"exec 3<>/dev/tcp/{host}/{port} && printf 'GET /ping HTTP/1.0\\r\\nHost: x\\r\\n\\r\\n' >&3 && head -1 <&3"
    )
    return run_in(project, service, "timeout", "4", "bash", "-c", script)


def test_each_container_is_in_its_networks_and_in_no_other(project: Project) -> None:
    found = {
        name: {n.removeprefix(f"{project.slug}_") for n in inspected(project, name)["NetworkSettings"]["Networks"]}
        for name in ("api", "denzel", "redis", "monitor", "rabbitmq", "proxy")
    }  # fmt: skip
    assert found == {
        "api": {"default", "front", "store"},
        "denzel": {"default", "store"},
        "redis": {"store"},
        "rabbitmq": {"store"},
        "monitor": {"store", "watch"},
        "proxy": {"front"},
    }


def test_callbacks_leave_and_the_monitor_reaches_no_receiver(project: Project, outside: str) -> None:
    assert reaches(project, "denzel", outside, 80)
    assert reaches(project, "api", outside, 80), "verify_input may ask others"
    assert not reaches(project, "monitor", outside, 80)
    assert reaches(project, "monitor", "redis", 6379)


def test_the_proxy_reaches_the_api_and_nothing_else(project: Project, outside: str) -> None:
    assert "200 OK" in bash_asks(project, "proxy", "api", 8000)
    for host, port in (("redis", 6379), ("rabbitmq", 5672), ("monitor", 5555), (outside, 80)):
        assert "HTTP/1" not in bash_asks(project, "proxy", host, port), host


def test_redis_and_the_broker_have_no_way_out(project: Project) -> None:
    for service in ("redis", "rabbitmq"):
        routes = run_in(project, service, "cat", "/proc/net/route").splitlines()[1:]
        assert routes, routes
        assert not [route for route in routes if route.split()[1] == "00000000"], f"{service} has a default route"


# ---- File systems ---------------------------------------------------------------------------------------------------

WRITABLE = {
    "api": {"/tmp", "/opt/denzel", "/home/denzel", "/run/denzel"},
    "denzel": {"/tmp", "/opt/denzel", "/home/denzel", "/run/denzel", "/opt/denzel/logs"},
    "monitor": {"/tmp"},
    "redis": {"/tmp", "/redis-data", "/run/redis"},
    "rabbitmq": {"/tmp", "/var/lib/rabbitmq"},
    "proxy": {"/tmp"},
}
# The secrets that a container is given.
GIVEN = {
    "api": {"REDIS_API_PASSWORD", "RABBITMQ_PASSWORD", "CALLBACK_SECRET"},
    "denzel": {"REDIS_DENZEL_PASSWORD", "REDIS_CALLBACKS_PASSWORD", "RABBITMQ_PASSWORD", "CALLBACK_SECRET"},
    "monitor": {"REDIS_MONITOR_PASSWORD", "MONITOR_PASSWORD", "RABBITMQ_PASSWORD"},
    "redis": {f"REDIS_{user}PASSWORD" for user in ("", "API_", "DENZEL_", "CALLBACKS_", "MONITOR_")},
    "rabbitmq": {"RABBITMQ_PASSWORD"},
    "proxy": set(),
}
# What the kernel and Docker mount themselves, and nobody keeps files in.
SYSTEM = ("/proc", "/sys", "/dev", "/etc/resolv.conf", "/etc/hostname", "/etc/hosts", "/sbin/docker-init")


@pytest.mark.parametrize("service", sorted(WRITABLE))
def test_a_container_can_write_where_the_readme_says_and_nowhere_else(project: Project, service: str) -> None:
    assert inspected(project, service)["HostConfig"]["ReadonlyRootfs"]
    lines = run_in(project, service, "cat", "/proc/mounts").splitlines()
    mounts = {words[1]: words[3].split(",") for words in map(str.split, lines)}
    assert "ro" in mounts["/"]
    assert {place for place, options in mounts.items() if "rw" in options and not place.startswith(SYSTEM)} == WRITABLE[
        service
    ]
    for place in (
        "/usr/bin",
        "/etc",
        "/opt/venv/bin",
        "/opt/denzel/app",
        "/opt/denzel/denzel",
        "/opt/denzel/entrypoints",
    ):
        told = run_in(project, service, "sh", "-c", f"[ ! -d {place} ] || touch {place}/new || true")
        assert "Read-only file system" in told or not told, (place, told)


# ---- Limits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", sorted(WRITABLE))
def test_a_container_takes_no_more_of_the_machine_than_it_may(project: Project, service: str) -> None:
    limits = inspected(project, service)["HostConfig"]
    info = json.loads(
        subprocess.run(["docker", "info", "--format", "{{json .}}"], capture_output=True, text=True).stdout
    )
    assert 64 << 20 <= limits["Memory"] <= 3 * info["MemTotal"] // 4
    assert 1e9 <= limits["NanoCpus"] <= info["NCPU"] * 1e9
    assert 128 <= limits["PidsLimit"] <= max(4096, 128 * info["NCPU"])


def test_redis_is_full_before_its_container_is(project: Project) -> None:
    ask = 'REDISCLI_AUTH="$REDIS_PASSWORD" redis-cli config get maxmemory'
    told = int(run_in(project, "redis", "sh", "-c", ask).split()[1])
    assert told == inspected(project, "redis")["HostConfig"]["Memory"] // 2


def test_what_fills_the_memory_of_a_container_ends_there(project: Project) -> None:
    """The monitor may take a gigabyte: a process that wants three is ended, and nothing else is."""
    before = inspected(project, "redis")["State"]["Pid"]
    code = "data = [bytearray(1 << 20) for _ in range(3000)]; print('has it')"
    told = project.compose("exec", "--no-TTY", "monitor", "python", "-c", code)
    assert told.code == 137, told
    assert inspected(project, "redis")["State"]["Pid"] == before


def test_a_container_cannot_fill_the_table_of_processes(project: Project) -> None:
    most = inspected(project, "monitor")["HostConfig"]["PidsLimit"]
    code = f"""
import subprocess
children = []
try:
    for _ in range({most + 100}):
        children.append(subprocess.Popen(["sleep", "60"]))
except OSError as error:
    print(type(error).__name__, len(children))
finally:
    for child in children:
        child.kill()
"""
    told = run_in(project, "monitor", "python", "-c", code).split()
    assert told[0] == "BlockingIOError"
    assert int(told[1]) < most


def test_the_limits_do_not_make_a_restart_replace_what_has_not_changed(project: Project) -> None:
    before = inspected(project, "denzel")["Id"]
    project.run("restart")
    assert inspected(project, "denzel")["Id"] == before


# ---- Redis ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", ["api", "denzel", "monitor"])
def test_a_service_is_a_user_of_redis_who_may_do_little(project: Project, service: str) -> None:
    code = "import os, redis; redis.Redis.from_url(os.environ['REDIS_URL']).flushall()"
    assert f"User {service} has no permissions" in run_in(project, service, "python", "-c", code)


def test_the_sender_of_callbacks_is_another_user_than_the_predictions(project: Project) -> None:
    code = "import os, redis; redis.Redis.from_url(os.environ['CALLBACKS_REDIS_URL']).lpush('a', 'b')"
    assert "User callbacks has no permissions" in run_in(project, "denzel", "python", "-c", code)


# ---- Secrets --------------------------------------------------------------------------------------------------------


def test_no_secret_is_shown_after_a_journey_through_everything(project: Project, inbox: Inbox) -> None:
    (project.path / "app/logic/pipeline.py").write_text(ACTING)
    project.run("restart")
    key = project.run("key", "NAME=alice").out.split()[-1]
    shown: dict[str, str] = {}
    headers = {"X-API-Key": key}

    def ask(method: str, path: str, **options: Any) -> requests.Response:
        answer = requests.request(method, project.url + path, timeout=60, **{"headers": headers, **options})
        shown[f"{method} {path} {len(shown)}"] = f"{answer.headers} {answer.text}"
        return answer

    def submit(**body: object) -> str:
        answer = ask("POST", "/predict", json=body, headers={**headers, "Prefer": "respond-async"})
        return answer.json()["data"]["task_id"]

    eventually(lambda: requests.get(f"{project.url}/info", timeout=5).status_code == 401, "the key holds")
    assert ask("POST", "/predict", json={"data": {}}).json() == {"answer": 1}
    assert ask("POST", "/predict", json={"act": "fail"}).status_code == 500
    delivered, failed, waiting = submit(callback_uri=inbox.url), submit(act="fail"), submit(act="wait")
    assert inbox.wait_for(delivered) == {"answer": 1}
    eventually(lambda: ask("GET", f"/status/{waiting}").json()["status"] == "STARTED", "it runs")
    assert ask("DELETE", f"/status/{waiting}").status_code == 202
    eventually(lambda: ask("GET", f"/status/{failed}").json()["status"] == "FAILURE", "it has failed")
    for path in ("/status/" + delivered, "/ready", "/metrics", "/docs", "/openapi.json", "/", "/nothing"):
        ask("GET", path)
        ask("GET", path, headers={})

    for words in ("status", "doctor", "logs", "logworker", "key", "help"):
        output = project.make(words)
        shown[f"make {words}"] = output.out + output.err
    known = Secrets(project.path / ".env", API_KEY=key, OWN_KEY=(project.path / ".denzel/key").read_text().strip())
    assert known.names >= {"API_KEY", "CALLBACK_SECRET", "MONITOR_PASSWORD", "RABBITMQ_PASSWORD", "REDIS_PASSWORD"}
    shown["processes"] = shown_by_processes()
    shown["docker compose top"] = project.compose("top").out
    assert "redis-server" in shown["docker compose top"]
    monitor, tasks = f"http://127.0.0.1:{project.monitor_port}", [delivered, failed, waiting]
    shown |= {f"monitor {k}": v for k, v in shown_by_monitor(monitor, known.value("MONITOR_PASSWORD"), tasks).items()}
    shown["docker compose logs"] = project.compose("logs").out
    for words in (["image", "history", "--no-trunc"], ["image", "inspect"]):
        shown[" ".join(words)] = subprocess.run(
            ["docker", *words, project.slug], capture_output=True, text=True, check=True
        ).stdout
    for service in WRITABLE:
        whole = inspected(project, service)
        environment = whole["Config"].pop("Env")
        assert known.found_in(json.dumps(environment)) == GIVEN[service], service
        shown[f"docker inspect {service}, but for its environment"] = json.dumps(whole)
    assert {place: names for place, text in shown.items() if (names := known.found_in(text))} == {}
