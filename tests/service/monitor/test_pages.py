"""Flower's pages in the versions that we pin, and the figures of its page "Broker"."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.support.services import Service
from tests.support.waiting import eventually

MANY = 1000
HOLDS = {"predict": "wait_for('go') and {'a': 1}"}
# What the script of the page "Tasks" asks for.
TABLE = "draw=1&start=0&length=10&search[value]=&order[0][column]=0&order[0][dir]=asc&columns[0][data]=name"
QUEUE = ("Queue", "Messages", "Unacked", "Ready", "Consumers", "Idle since")


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def monitored(request: pytest.FixtureRequest, new_service: Callable[..., Service]) -> Iterator[Service]:
    """Two processes under a monitor; with RabbitMQ its pages stand below a path, as behind a proxy."""
    settings = {}
    if request.param == "rabbitmq":
        settings = {"BROKER_URL": request.getfixturevalue("rabbitmq"), "MONITOR_PREFIX": "/monitor"}
    service = new_service(WORKER_CONCURRENCY=2, **settings)
    service.start("redis", "api", "denzel", "monitor")
    service.wait_ready(processes=2)
    eventually(lambda: len(online(service)) == 2, lambda: f"both processes are listed: {online(service)}", 30)
    yield service
    for name in ("monitor", "denzel", "api", "redis"):
        service.stop(name)


def get(service: Service, path: str, **options: str) -> requests.Response:
    """GET a path of the monitor, with its password."""
    prefix = service.environment.get("MONITOR_PREFIX", "")
    login = ("admin", service.environment["MONITOR_PASSWORD"])
    try:
        return requests.get(
            f"http://127.0.0.1:{service.ports['monitor']}{prefix}{path}", auth=login, timeout=10, params=options
        )
    except requests.ConnectionError:  # it is starting
        answer = requests.Response()
        answer.status_code, answer._content = 503, b"{}"
        return answer


def online(service: Service) -> list[str]:
    """The processes that the first page lists as being there."""
    answer = get(service, "/workers", json="1")
    return [row["hostname"] for row in answer.json()["data"] if row["status"]] if answer.status_code == 200 else []


def broker_page(service: Service) -> dict[str, str]:
    """The only line of the table on the page "Broker"."""
    page = get(service, "/broker").text
    cells = [
        html.unescape(re.sub("<[^>]*>", "", cell)).strip() for cell in re.findall(r"(?s)<td[^>]*>(.*?)</td>", page)
    ]
    return dict(zip(QUEUE, cells, strict=True))


def test_every_page_works(monitored: Service) -> None:
    task_id = monitored.submit({"a": 1})
    monitored.wait(task_id)
    eventually(lambda: get(monitored, f"/api/task/info/{task_id}").status_code == 200, "it knows of the task", 10)
    pages = ["/", "/workers", "/tasks", "/broker", f"/task/{task_id}", "/metrics", "/healthcheck", "/api/workers"]
    pages += ["/api/tasks", "/api/queues/length", f"/tasks/datatable?{TABLE}"]
    workers = [f"worker{number}@{monitored.project.name}" for number in ("", ".2")]
    pages += [f"/worker/{name}" for name in workers]
    assert {page: get(monitored, page).status_code for page in pages} == dict.fromkeys(pages, 200)
    overview = get(monitored, "/workers").text
    assert all(name in overview for name in workers)
    for link in {
        link
        for page in ("/", "/tasks", "/broker")
        for link in re.findall(r'(?:src|href)="(/[^"]*)"', get(monitored, page).text)
    }:
        path = html.unescape(link).removeprefix(monitored.environment.get("MONITOR_PREFIX", ""))
        assert get(monitored, path).status_code == 200, link
    assert "Traceback" not in monitored.log("monitor")
    assert "attribute" not in monitored.log("monitor")


def test_without_the_password_there_is_nothing_to_see(monitored: Service) -> None:
    url = f"http://127.0.0.1:{monitored.ports['monitor']}{monitored.environment.get('MONITOR_PREFIX', '')}"
    assert [requests.get(url + path, timeout=10).status_code for path in ("/broker", "/api/queues/length")] == [
        401,
        401,
    ]


def test_an_idle_queue_has_every_figure(monitored: Service) -> None:
    monitored.wait(monitored.submit({"a": 1}))
    figures = eventually(
        lambda: (found := broker_page(monitored)) and re.match(r"\d{4}-\d\d-\d\d \d\d:", found["Idle since"]) and found,
        lambda: str(broker_page(monitored)),
    )
    del figures["Idle since"]
    assert figures == {"Queue": "denzel.tested", "Messages": "0", "Unacked": "0", "Ready": "0", "Consumers": "2"}


def test_the_figures_are_those_of_the_tasks_while_a_thousand_wait(monitored: Service) -> None:
    try:
        for _ in range(2):
            running = monitored.submit(HOLDS)
            eventually(lambda task_id=running: monitored.status(task_id)["status"] == "STARTED", "it runs")
        with ThreadPoolExecutor(8) as threads:
            waiting = list(threads.map(monitored.submit, [HOLDS] * MANY))
        assert monitored.ready()["queue"] == MANY
        assert broker_page(monitored) == {
            "Queue": "denzel.tested", "Messages": str(MANY + 2), "Unacked": "2", "Ready": str(MANY), "Consumers": "2",
            "Idle since": "in use",
        }  # fmt: skip
        (queue,) = get(monitored, "/api/queues/length").json()["active_queues"]
        assert (queue["messages_ready"], queue["messages_unacknowledged"], queue["consumers"]) == (MANY, 2, 2)
    finally:
        (monitored.project / "go").touch()
    assert {monitored.wait(task_id, 60)["status"] for task_id in waiting} == {"SUCCESS"}
    assert broker_page(monitored)["Messages"] == "0"
