"""Processes whose life is over vanish from the list of the monitor; their names never come back."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
import requests

from tests.support.services import Service
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def monitored(new_service: Callable[..., Service]) -> Service:
    service = new_service("scripted", WORKER_CONCURRENCY=1)
    service.start("redis", "api", "denzel", "monitor")
    service.wait_ready()
    return service


def listed(service: Service) -> dict[str, bool]:
    """The processes in the table of the monitor's first page, and whether each is online."""
    url = f"http://127.0.0.1:{service.ports['monitor']}/workers?json=1"
    login = ("admin", service.environment["MONITOR_PASSWORD"])
    rows = requests.get(url, auth=login, timeout=10).json()["data"]
    return {row["hostname"]: row["status"] for row in rows}


def the_only(service: Service) -> str:
    """The one that is listed, once it is one and online."""
    eventually(lambda: list(listed(service).values()) == [True], lambda: str(listed(service)), 60)
    return next(iter(listed(service)))


@pytest.mark.parametrize("way", ["killed", "replaced"])
def test_a_name_that_is_over_vanishes(monitored: Service, way: str) -> None:
    before = the_only(monitored)
    if way == "killed":
        os.kill(monitored.predictors()[0], signal.SIGKILL)
    else:
        os.kill(monitored.pid("denzel"), signal.SIGHUP)
    eventually(
        lambda: any(listed(monitored).get(name) for name in listed(monitored) if name != before), "a new one", 30
    )
    assert the_only(monitored) != before
