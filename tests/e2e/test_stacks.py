"""Both stacks: two workers of two processes, scaled under load, and what waits; then what is special of the full one.

The tests are one story of each stack and build on each other.
"""

from __future__ import annotations

import html
import json
import random
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.e2e.project import Project
from tests.support.clients import Clients
from tests.support.ports import free_port
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

FULL = {"rabbitmq", "redis", "nginx", "api", "denzel", "monitor"}
MANY = 1000


@pytest.fixture(scope="module", params=["basic", "full"])
def stack(
    request: pytest.FixtureRequest, new_project: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """A launched project with two workers of two processes."""
    project = new_project(tmp_path_factory.mktemp(request.param), stack=request.param)
    project.use_pipeline("holding")
    project.set_env(WORKERS="2", WORKER_CONCURRENCY="2")
    if request.param == "full":
        project.api_port = project.monitor_port = free_port()  # both are behind nginx
        project.run("launch", f"PROXY_PORT={project.api_port}")
    else:
        project.launch()
    return project


def is_full(project: Project) -> bool:
    return "nginx" in project.env("COMPOSE_FILE")


def monitor(project: Project, path: str) -> requests.Response:
    """GET a path of the monitor, with its password."""
    prefix = "/monitor" if is_full(project) else ""
    login = ("admin", project.env("MONITOR_PASSWORD"))
    return requests.get(f"http://127.0.0.1:{project.monitor_port}{prefix}{path}", auth=login, timeout=10)


def in_the_monitor(project: Project) -> set[str]:
    """The processes that the monitor lists as being there."""
    return {row["hostname"] for row in monitor(project, "/workers?json=1").json()["data"] if row["status"]}


def nodes(project: Project, workers: int) -> list[str]:
    return [f"worker{number}@{project.slug}" for number in ("", *(f"-{n}" for n in range(2, workers + 1)))]


def scale(project: Project, workers: int, clients: Clients) -> None:
    """`make scale`, while clients are being answered before, meanwhile and after it."""
    for step in (None, lambda: project.run("scale", f"WORKERS={workers}"), None):
        wanted = clients.answered + 50
        if step:
            step()
        eventually(lambda wanted=wanted: clients.answered >= wanted, lambda: f"answers: {clients.outcomes}", 30)
    assert clients.outcomes.keys() <= {200, 202}, clients.outcomes


def test_nobody_is_root_and_nobody_is_warned_of_it(stack: Project) -> None:
    printed = stack.run("logs").out
    assert "load_model returned" in printed
    assert not re.search("superuser|privileges|run as root", printed, re.IGNORECASE)
    for service in ("api", "denzel", "monitor"):
        assert stack.compose("exec", "-T", service, "id", "-u").out.strip() not in ("", "0")


def test_scaling_down_and_up_under_load_loses_nothing_and_cuts_nothing(stack: Project) -> None:
    with Clients(stack.url, kept=6, fresh=2, later=2, think=0.03, forwarded=True) as clients:
        for workers in (1, 2):
            scale(stack, workers, clients)
    print(dict(clients.outcomes), f"{len(clients.accepted)} accepted, slowest {clients.slowest:.1f} s")
    assert len(clients.accepted) > 50
    with ThreadPoolExecutor(8) as threads:
        for task, status in zip(clients.accepted.values(), threads.map(stack.wait, clients.accepted), strict=True):
            assert (status["status"], status["result"]) == ("SUCCESS", {"answer": task})


def test_each_of_two_workers_has_its_name_and_its_log(stack: Project) -> None:
    shown = stack.run("status").out
    assert re.findall(r"Worker: (\S+) - UP\n", shown) == nodes(stack, 2)
    processes = {name for node in nodes(stack, 2) for name in (node, node.replace("@", ".2@"))}

    def seen() -> bool:
        # a worker that was stopped and started again gives its processes further numbers
        found = in_the_monitor(stack)
        return len(found) == 4 and {re.sub(r"\.\d+@", ".2@", name) for name in found} == processes

    eventually(seen, lambda: f"the monitor lists {processes}: {in_the_monitor(stack)}", 60, interval=0.5)
    for number, node in enumerate(nodes(stack, 2), start=1):
        log = (stack.path / f"logs/worker{f'-{number}' * (number > 1)}.log").read_text()
        own = set(re.findall(rf"(\S+@{stack.slug}) ready\.", log))
        assert own
        assert {re.sub(r"\.\d+@", "@", name) for name in own} == {node}


def test_what_waits_is_told_right_while_a_thousand_do(stack: Project) -> None:
    hold = stack.path / "app/assets/hold"
    hold.touch()
    try:
        with ThreadPoolExecutor(8) as threads:
            ids = list(threads.map(submit, [stack.url] * (MANY + 4), range(MANY + 4)))
        eventually(lambda: queue(stack) == MANY, lambda: f"four run, the others wait: {queue(stack)}")
        assert f"\nQueue: {MANY} tasks wait\n" in stack.run("status").out
        page = monitor(stack, "/broker").text
        cells = [html.unescape(cell).strip() for cell in re.findall(r"(?s)<td[^>]*>(.*?)</td>", page)]
        assert cells[0].startswith(f"denzel.{stack.slug}.")
        assert cells[1:] == [str(MANY + 4), "4", str(MANY), "4", "in use"]
    finally:
        hold.unlink()
    with ThreadPoolExecutor(8) as threads:
        assert {status["status"] for status in threads.map(stack.wait, ids)} == {"SUCCESS"}
    assert "\nQueue: 0 tasks wait\n" in stack.run("status").out
    cells = re.findall(r"(?s)<td[^>]*>(.*?)</td>", monitor(stack, "/broker").text)
    assert cells[1:5] == ["0", "0", "0", "4"]
    assert re.match(r"\d{4}-\d\d-\d\d ", cells[5])


def submit(url: str, number: int) -> str:
    headers = {"Prefer": "respond-async"}
    answer = requests.post(f"{url}/predict", json={"number": number}, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["task_id"]


def queue(project: Project) -> int:
    return requests.get(f"{project.url}/ready", timeout=10).json()["queue"]


# ------------------------------------------------------------------------------------------ the full stack alone


@pytest.fixture
def full(stack: Project) -> Project:
    if not is_full(stack):
        pytest.skip("of the full stack alone")
    return stack


def test_only_nginx_is_published(full: Project) -> None:
    lines = [json.loads(line) for line in full.compose("ps", "--format", "json").out.splitlines()]
    assert {line["Service"] for line in lines} == FULL
    ports = {line["Service"]: {port["PublishedPort"] for port in line["Publishers"] or []} - {0} for line in lines}
    assert {service: found for service, found in ports.items() if found} == {"nginx": {full.api_port}}


def test_the_monitor_is_behind_nginx_with_its_password(full: Project) -> None:
    url = f"{full.url}/monitor"
    answer = requests.get(url, allow_redirects=False, timeout=10)
    assert (answer.status_code, answer.headers["Location"]) == (308, "/monitor/")
    assert requests.get(f"{url}/", timeout=10).status_code == 401
    page = monitor(full, "/").text
    links = set(re.findall(r'(?:src|href)="(/[^"]*)"', page))
    assert links
    assert {requests.get(full.url + html.unescape(link), auth=("admin", full.env("MONITOR_PASSWORD")), timeout=10)
            .status_code for link in links} == {200}  # fmt: skip
    assert all(link.startswith("/monitor/") for link in links)
    assert monitor(full, "/metrics").status_code == 404, "it would answer without the password"
    assert f"nginx - UP [ Port: {full.api_port} ]" in full.run("status").out


def test_it_works_after_each_container_was_replaced_in_any_order(full: Project) -> None:
    order = sorted(FULL)
    random.shuffle(order)
    print("replaced in this order:", *order)
    for service in order:
        before = full.compose("ps", "--quiet", service).out.split()
        output = full.compose("up", "--detach", "--no-build", "--no-deps", "--force-recreate", service)
        assert output.code == 0, output
        assert not {*before} & {*full.compose("ps", "--quiet", service).out.split()}
        eventually(lambda: predicted(full), f"a request works after {service} was replaced", 60, interval=0.2)
    eventually(lambda: monitor(full, "/").status_code == 200, "the monitor is back", 60, interval=0.2)
    expected = {name.partition("@")[0] for name in nodes(full, 2)}
    eventually(
        lambda: {re.sub(r"\.\d+@.*|@.*", "", name) for name in in_the_monitor(full)} == expected,
        lambda: str(in_the_monitor(full)), 60, interval=0.5,
    )  # fmt: skip


def predicted(project: Project) -> bool:
    try:
        answer = requests.post(f"{project.url}/predict", json={"number": 1}, timeout=30)
    except requests.RequestException:
        return False
    return answer.status_code == 200 and answer.json() == {"answer": {"number": 1}}
