"""Large requests on their way through the real service: answered, cancelled, run again, never left behind."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.http import ASYNC
from tests.support.receivers import Receivers, Reply
from tests.support.services import Service
from tests.support.waiting import eventually

SIZE = 1_000_000


@pytest.fixture(scope="module")
def service(new_service: Callable[..., Service]) -> Service:
    service = new_service(WORKER_CONCURRENCY=2, CALLBACK_ALLOW="127.0.0.1")
    service.start("redis", "api", "denzel")
    service.wait_ready(processes=2)
    beside = "denzel/tested:read_beside"
    eventually(lambda: service.redis.exists(beside), "workers take requests by name")
    return service


def large(**fields: Any) -> dict[str, Any]:
    return {"text": "x" * SIZE, "predict": "{'size': len(data['text'])}", **fields}


def requests_of(service: Service) -> list[bytes]:
    return service.redis.keys("denzel/tested:request:*")


def none_is_left(service: Service) -> None:
    eventually(lambda: not requests_of(service), "no request is left")
    assert service.redis.zcard("denzel/tested:beside") == 0


def test_they_are_answered_and_leave_nothing(service: Service) -> None:
    assert service.predict(large(), "wait=20").json() == {"size": SIZE}
    tasks = [service.submit(large(predict=f"{{'number': {number}}}")) for number in range(20)]
    assert [service.wait(task_id)["result"] for task_id in tasks] == [{"number": number} for number in range(20)]
    failing = service.submit(large(predict="throw(ValueError('no'))"))
    assert service.wait(failing)["result"] == {"args": ["no"], "type": "ValueError"}
    none_is_left(service)


def test_one_that_is_called_back_leaves_nothing(service: Service, receivers: Receivers) -> None:
    receiver = receivers.open(Reply())
    task_id = service.submit(large(callback_uri=receiver.url))
    eventually(lambda: [one.task_id for one in receiver.received] == [task_id], "the callback arrives")
    none_is_left(service)


def test_the_death_of_its_process_and_a_cancellation(service: Service) -> None:
    running = service.submit({**large(note="running", process="wait_for('go')"), "predict": None})
    eventually(lambda: service.status(running)["status"] == "STARTED", "it runs")
    [name] = requests_of(service)
    assert service.redis.ttl(name) == -1
    assert service.redis.strlen(name) > SIZE
    [event] = eventually(
        lambda: [event for event in service.events("process") if event[3] == "running"], "its process is known"
    )
    os.kill(int(event[1]), signal.SIGKILL)
    eventually(lambda: len([one for one in service.events("process") if one[3] == "running"]) == 2, "it runs again")
    cancelled = service.submit(large(note="cancelled", process="wait_for('never')"))
    eventually(lambda: service.status(cancelled)["status"] == "STARTED", "it runs, too")
    assert service.request("DELETE", f"/status/{cancelled}").status_code == 202
    (service.project / "go").touch()
    assert service.wait(running)["result"] == {"answer": True}
    none_is_left(service)


def test_what_waited_in_redis_while_it_was_killed_is_served(service: Service) -> None:
    service.stop("denzel")
    waiting = service.submit(large())
    service.kill("redis")
    service.start("redis", "denzel")
    service.wait_ready(processes=2)
    eventually(lambda: service.get("/ready").status_code == 200, "it is ready")
    assert service.wait(waiting)["result"] == {"size": SIZE}
    none_is_left(service)


def test_a_key_binds_a_large_request_too(service: Service) -> None:
    options = {"body": large(), "headers": {"Idempotency-Key": "large"}}
    first = service.predict(prefer=ASYNC, **options).json()["data"]["task_id"]
    assert service.wait(first)["result"] == {"size": SIZE}
    assert service.predict(prefer=ASYNC, **options).json()["data"]["task_id"] == first
    none_is_left(service)


def test_redis_file_and_memory_stay_bounded(service: Service) -> None:
    """The short form of bench/large.py, with a file that is written anew from 16 MB on."""
    service.redis.config_set("auto-aof-rewrite-min-size", 16_000_000)
    before = service.redis.info("memory")["used_memory"]
    sizes = []

    def ask(number: int) -> bool:
        if number % 2:
            done = service.predict(large(), "wait=30").json() == {"size": SIZE}
        else:
            done = service.wait(service.submit(large()), timeout=30)["result"] == {"size": SIZE}
        sizes.append(file_size(service))
        return done

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(200)))
    assert max(sizes) < 100_000_000, "half of what came"
    none_is_left(service)
    eventually(lambda: service.redis.info("memory")["used_memory"] < before + 10 * SIZE, "the memory is free again")


def file_size(service: Service) -> int:
    """The bytes of Redis' file, in all its parts."""
    total = 0
    for path in (service.project / ".redis").rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return total
