"""The bounds of the queue in time, without a queue in Redis."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.support.services import Service
from tests.support.waiting import eventually

SLEEPING = {"predict": "(time.sleep(0.05), {'a': 1})[1]"}


@pytest.fixture(scope="module")
def inline(new_service: Callable[..., Service]) -> Service:
    service = new_service(EXECUTOR="inline", REDIS_URL="")
    service.start("api")
    eventually(lambda: service.get("/ready").status_code == 200, "it is ready")
    return service


def test_who_would_wait_too_long_is_refused_at_once(inline: Service) -> None:
    for _ in range(5):
        assert inline.predict(SLEEPING).status_code == 200
    with ThreadPoolExecutor(60) as pool:
        answers = list(pool.map(lambda _: inline.predict(SLEEPING, prefer="wait=1"), range(60)))
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(429) >= 20
    assert statuses.count(200) >= 8
    refused = answers[statuses.index(429)]
    assert int(refused.headers["Retry-After"]) >= 1
    assert "your request waits 1 s at most; try again in " in refused.json()["description"]
    assert inline.predict(SLEEPING).status_code == 200


def test_what_clients_wait_for_that_go_is_taken_back(inline: Service) -> None:
    text = json.dumps(SLEEPING)
    head = f"POST /predict HTTP/1.1\r\nHost: a\r\nPrefer: wait=30\r\nContent-Length: {len(text)}\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(100):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", inline.ports["api"]), timeout=5))
            connection.sendall((head + text).encode())
        eventually(lambda: inline.ready()["queue"] >= 50, "they wait: two seconds and a half of work")
    eventually(lambda: inline.ready()["queue"] == 0, "they are taken back", 1.0)
