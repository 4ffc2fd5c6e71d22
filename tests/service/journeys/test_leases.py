"""Who is vouched for keeps its tasks, however long they take, and whatever becomes of Redis meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from denzel.queue.keys import LEASE
from tests.service.support.merging import together
from tests.support.services import Service
from tests.support.waiting import eventually

MANY = 20


@pytest.fixture
def nodes(new_project: Callable[[str], Path]) -> Iterator[tuple[Service, Service]]:
    """A service that merges what waits, and a second node of it, of which nothing runs yet."""
    with Service(new_project("batched")) as service, Service(new_project("batched")) as other:
        service.start("redis", "api", "denzel")
        service.wait_ready()
        other.environment = {**other.environment, "REDIS_URL": service.redis_url}
        yield service, other


def calls(*nodes: Service) -> int:
    """How often the pipeline was called."""
    return sum(len(node.events("call")) for node in nodes)


def test_long_tasks_are_not_run_twice_while_redis_breaks_off_and_restarts(nodes: tuple[Service, Service]) -> None:
    """Both nodes hold tasks for longer than their leases: each would take the other for dead."""
    service, other = nodes
    ids = together(service, *["wait_for('released') and 1"] * MANY)
    other.start("denzel")
    service.wait_ready(processes=2)
    ids.append(service.submit({"data": {"answer": "wait_for('released') and 1"}}))
    eventually(lambda: other.events("call"), "the other node has a task, too")
    before = calls(*nodes)

    service.kill("redis")
    killed = time.monotonic()
    eventually(lambda: time.monotonic() - killed > LEASE + 1, "the leases have run out")
    service.start("redis")
    for kind in ("normal", "pubsub"):
        service.redis.execute_command("CLIENT", "KILL", "TYPE", kind)
    eventually(lambda: service.redis.exists("denzel/tested:amnesty"), "nobody is taken for dead at first")
    eventually(lambda: not service.redis.exists("denzel/tested:amnesty"), "this is over")
    beat = int(service.redis.get("denzel/tested:last_beat"))
    eventually(lambda: int(service.redis.get("denzel/tested:last_beat")) > beat + 1, "the nodes were looked at again")
    assert sum(service.redis.scard(key) for key in service.redis.keys("denzel/tested:claims:*")) == MANY + 1

    for node in nodes:
        (node.project / "released").touch()
    for task_id in ids:
        record = service.wait(task_id, timeout=30)
        assert (record["result"], record["attempts"]) == ({"answer": 1}, 1)
    assert calls(*nodes) == before
