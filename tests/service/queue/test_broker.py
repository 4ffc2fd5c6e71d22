"""Tickets that travel through a broker of their own, as with RabbitMQ: here another Redis, that is away or forgets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.services import Service
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def broker(new_service: Callable[..., Service]) -> Service:
    """The broker."""
    service = new_service()
    service.start("redis")
    return service


@pytest.fixture(scope="module")
def brokered(new_service: Callable[..., Service], broker: Service) -> Service:
    """A service that has its tickets there."""
    service = new_service(BROKER_URL=broker.redis_url)
    service.start("redis", "api", "denzel")
    service.wait_ready()
    return service


@pytest.fixture
def service(brokered: Service) -> Iterator[Service]:
    yield brokered
    brokered.wait_ready()
    assert brokered.predict({"a": 1}, prefer="wait=20").json() == {"answer": {"a": 1}}


def test_each_task_brings_its_ticket(service: Service) -> None:
    began = time.monotonic()
    for number in range(20):
        assert service.predict({"number": number}, prefer="wait=20").json() == {"answer": {"number": number}}
    assert time.monotonic() - began < 6, "a heartbeat, which comes once a second, would send one too"
    assert service.redis.llen("denzel/tested:denzel.tested") == 0


def test_tickets_that_the_broker_has_lost_are_sent_again(service: Service, broker: Service) -> None:
    service.stop("denzel")
    ids = [service.submit({"number": number}) for number in range(3)]
    eventually(lambda: broker.redis.llen("denzel/tested:denzel.tested") == 3, "the tickets are there")
    broker.redis.delete("denzel/tested:denzel.tested")
    service.start("denzel")
    for number, task_id in enumerate(ids):
        assert service.wait(task_id)["result"] == {"answer": {"number": number}}


def test_tasks_are_accepted_while_the_broker_is_away_and_run_afterwards(service: Service, broker: Service) -> None:
    broker.kill("redis")
    [worker] = eventually(
        lambda: [worker for worker in service.ready()["workers"] if worker["state"] == "UNAVAILABLE"], "/ready tells"
    )
    assert worker["error"] == "the broker is out of reach"
    assert service.get("/ready").status_code == 503
    ids = [service.submit({"number": number}) for number in range(3)]
    broker.start("redis")
    for number, task_id in enumerate(ids):
        assert service.wait(task_id, timeout=30)["result"] == {"answer": {"number": number}}
