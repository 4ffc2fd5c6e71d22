"""Redis stopped, frozen, restarted, full: what clients see meanwhile, and that all goes on afterwards by itself."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.support.processes import children_of
from tests.support.services import Service
from tests.support.waiting import eventually

ASYNC = "respond-async"
BUSY = 0.5  # seconds that the client itself may need on a busy machine


@pytest.fixture(scope="module")
def own(new_service: Callable[..., Service]) -> Service:
    """A service whose Redis may be maltreated."""
    service = new_service()
    service.start("redis", "api", "denzel")
    return service


@pytest.fixture
def healthy(own: Service) -> Iterator[Service]:
    """The same, ready for predictions before and after the test."""
    own.wait_ready()
    yield own
    own.wait_ready()
    assert own.predict({"a": 1}, prefer="wait=10").json() == {"answer": {"a": 1}}


def timed(request: Callable[[], requests.Response]) -> tuple[requests.Response, float]:
    began = time.monotonic()
    response = request()
    return response, time.monotonic() - began


def check_unavailable(service: Service) -> None:
    """Whatever needs Redis says within two seconds that it is away, however many ask; the rest goes on.

    A client that waits needs it only where no process has time for its request at once.
    """
    task_id = "00000000-0000-0000-0000-000000000000"
    needy: list[Callable[[], requests.Response]] = [
        lambda: service.predict({"a": 1}),
        lambda: service.predict({"a": 1}, ASYNC),
        lambda: service.predict({"a": 1}, "wait=30"),
        lambda: service.predict({"callback_uri": "nonsense"}),
        lambda: service.predict({"a": 1}, headers={"Idempotency-Key": "key"}),
        lambda: service.get(f"/status/{task_id}"),
        lambda: service.request("DELETE", f"/status/{task_id}"),
    ]
    with ThreadPoolExecutor(32) as pool:
        answers = []
        for request in needy * 4:  # one after the other, so that some come while others wait already
            answers.append(pool.submit(timed, request))
            response, seconds = timed(lambda: service.get("/ping"))
            assert response.status_code == 200
            assert seconds < 1
        for answer in answers:
            response, seconds = answer.result()
            assert seconds < 2 + BUSY
            if response.status_code == 200 and response.request.method == "POST":
                assert response.json() == {"answer": {"a": 1}}
                assert "respond-async" not in response.request.headers.get("Prefer", "")
                assert "Idempotency-Key" not in response.request.headers
                continue
            assert response.status_code == 503
            assert response.json()["title"] == "Service unavailable"
            assert response.json()["description"].startswith("Redis does not answer")
            assert int(response.headers["Retry-After"]) > 0
            assert "Denzel-Task-Id" not in response.headers
    response, seconds = timed(lambda: service.get("/ready"))
    assert response.status_code == 503
    assert response.json()["title"] == "Not ready"
    assert response.json()["reason"].startswith("Redis does not answer")
    assert seconds < 2 + BUSY
    assert service.get("/info").status_code == 200
    assert service.predict(b"nonsense").status_code == 400


def check_answers(service: Service) -> None:
    """Every request is answered, with its own answer."""
    with ThreadPoolExecutor(16) as pool:
        bodies = [{"number": number} for number in range(50)]
        answers = list(pool.map(lambda body: service.predict(body, prefer="wait=10").json(), bodies))
    assert answers == [{"answer": body} for body in bodies]


def test_a_frozen_redis_is_told_within_two_seconds_and_recovered_from(healthy: Service) -> None:
    with healthy.paused("redis"):
        check_unavailable(healthy)
    healthy.wait_ready()
    check_answers(healthy)


def test_a_dead_redis_is_told_at_once_and_recovered_from(healthy: Service) -> None:
    healthy.run("denzel.control", "response", "sync", "9")
    healthy.kill("redis")
    check_unavailable(healthy)
    _, seconds = timed(lambda: healthy.predict({"a": 1}))
    assert seconds < 1
    done = healthy.run("denzel.control", "response", "async")
    assert done.returncode == 1
    assert done.stderr.startswith("Failed to change the response setting: Redis does not answer")
    assert done.stderr.count("\n") == 1
    healthy.start("redis")
    healthy.wait_ready()
    assert healthy.redis.get("denzel/tested:synchronous_timeout") == b"9.0"
    check_answers(healthy)
    healthy.redis.delete("denzel/tested:synchronous_timeout")


def test_who_waits_while_redis_restarts_is_answered(healthy: Service) -> None:
    before = len(healthy.events("process"))
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(healthy.predict, {"predict": "{'waited': wait_for('restarted')}"}, prefer="wait=30")
        eventually(lambda: len(healthy.events("process")) > before, "the task runs")
        healthy.kill("redis")
        healthy.start("redis")
        (healthy.project / "restarted").touch()
        assert answer.result().json() == {"waited": True}
    assert healthy.status(answer.result().headers["Denzel-Task-Id"])["attempts"] == 1


def test_an_answer_that_came_while_nobody_listened_is_found(healthy: Service) -> None:
    [process] = children_of(healthy.pid("api"))
    before = len(healthy.events("process"))
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(healthy.predict, {"predict": "{'waited': wait_for('unheard')}"}, prefer="wait=20")
        eventually(lambda: len(healthy.events("process")) > before, "the task runs")
        [key] = eventually(
            lambda: [
                key for key in healthy.redis.scan_iter("denzel/tested:task:*") if healthy.redis.hget(key, "request")
            ],
            "it is known",
        )
        os.kill(process, signal.SIGSTOP)
        try:
            healthy.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            (healthy.project / "unheard").touch()
            eventually(lambda: healthy.redis.hget(key, "status") == b"SUCCESS", "the task ends")
        finally:
            os.kill(process, signal.SIGCONT)
        response, seconds = timed(answer.result)
    assert response.json() == {"waited": True}
    assert seconds < 5


def test_an_answer_computed_while_redis_is_away_is_kept(healthy: Service) -> None:
    before = len(healthy.events("process"))
    task_id = healthy.submit({"predict": "(wait_for('computed'), note('computed'), {'a': 1})[2]"})
    queued = healthy.submit({"a": 2})
    eventually(lambda: len(healthy.events("process")) > before, "the task runs")
    healthy.kill("redis")
    (healthy.project / "computed").touch()
    eventually(lambda: healthy.events("computed"), "it is computed")
    healthy.start("redis")
    record = healthy.wait(task_id)
    assert record["result"] == {"a": 1}
    assert record["attempts"] == 1
    assert len(healthy.events("computed")) == 1
    assert healthy.wait(queued)["result"] == {"answer": {"a": 2}}


def test_a_process_whose_connection_breaks_while_it_waits_is_handed_nothing(healthy: Service) -> None:
    def hang_up() -> bool:
        healthy.predict({"a": 1}, prefer="wait=20")
        waiting = [client["id"] for client in healthy.redis.client_list() if client["cmd"] == "brpop"]
        idle = bool(healthy.redis.exists("denzel/tested:idle:3"))
        killed = [healthy.redis.client_kill_filter(client) for client in waiting]
        return idle and any(killed)

    eventually(hang_up, "its connection is closed")
    assert healthy.predict({"a": 2}, prefer="wait=20").json() == {"answer": {"a": 2}}


def test_the_task_of_a_process_that_died_meanwhile_runs_again_as_soon_as_redis_is_back(healthy: Service) -> None:
    before = len(healthy.events("process"))
    task_id = healthy.submit({"predict": "{'again': wait_for('again')}"})
    eventually(lambda: len(healthy.events("process")) > before, "the task runs")
    token = healthy.redis.hget(f"denzel/tested:task:{task_id}", "token").decode()
    healthy.kill("redis")
    killed = time.monotonic()
    os.kill(healthy.predictors()[0], signal.SIGKILL)
    eventually(lambda: "wait again only when Redis is back" in healthy.log("denzel"), "its end is noticed")
    eventually(lambda: time.monotonic() - killed > 3, "Redis is away for longer than between two heartbeats")
    healthy.start("redis")
    eventually(lambda: not healthy.redis.exists(f"denzel/tested:claims:{token}"), "what it had claimed waits again")
    assert healthy.redis.exists("denzel/tested:amnesty"), "leases are not looked at yet"
    (healthy.project / "again").touch()
    assert healthy.wait(task_id)["result"] == {"again": True}


def test_who_was_told_to_poll_while_redis_was_away_finds_the_answer_though_the_api_died(healthy: Service) -> None:
    before = len(healthy.events("process"))
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(healthy.predict, {"predict": "{'outlived': wait_for('outlived')}"}, prefer="wait=2")
        eventually(lambda: len(healthy.events("process")) > before, "the task runs")
        eventually(lambda: [*healthy.redis.scan_iter("denzel/tested:claims:*")], "it is known")
        healthy.kill("redis")
        assert answer.result().status_code == 202
    healthy.kill("api")
    healthy.start("redis", "api")
    (healthy.project / "outlived").touch()
    task_id = answer.result().json()["data"]["task_id"]
    assert healthy.wait(task_id)["result"] == {"outlived": True}
    assert healthy.redis.ttl(f"denzel/tested:task:{task_id}") > 3600  # as of an asynchronous task


def test_services_start_without_redis_and_wait_for_it(new_service: Callable[..., Service]) -> None:
    service = new_service()
    service.start("api", "denzel")
    assert service.predict({"a": 1}).status_code == 503
    eventually(lambda: "Waiting for Redis" in service.log("denzel"), "the supervisor says what it waits for")
    service.start("redis")
    service.wait_ready()
    assert service.predict({"a": 1}).json() == {"answer": {"a": 1}}


def test_a_full_redis_refuses_requests_until_there_is_room(healthy: Service) -> None:
    used = healthy.redis.info("memory")["used_memory"]
    healthy.redis.config_set("maxmemory", used)
    try:
        response = healthy.predict({"a": 1}, ASYNC)
        assert response.status_code == 503
        assert response.json()["title"] == "Service unavailable"
        assert response.json()["description"].startswith("Redis is full (REDIS_MAXMEMORY in .env)")
        assert int(response.headers["Retry-After"]) > 0
    finally:
        healthy.redis.config_set("maxmemory", 0)
    eventually(lambda: healthy.predict({"a": 1}, ASYNC).status_code == 200, "requests are taken again")


def test_before_redis_is_full_what_is_left_is_kept_for_answers(healthy: Service) -> None:
    before = len(healthy.events("process"))
    task_id = healthy.submit({"predict": "{'answer': wait_for('room')}"})
    eventually(lambda: len(healthy.events("process")) > before, "the task runs")
    healthy.redis.setrange("ballast", 20_000_000, "x")
    try:
        healthy.redis.config_set("maxmemory", int(healthy.redis.info("memory")["used_memory"] / 0.95))
        eventually(lambda: healthy.predict({"a": 1}, ASYNC).status_code == 503, "requests are refused")
        response = healthy.predict({"a": 1})
        assert response.status_code == 503
        assert response.json()["description"].startswith("Redis is full (REDIS_MAXMEMORY in .env)")
        assert "Redis is almost full: no tasks are accepted until there is room" in healthy.log("denzel")
        (healthy.project / "room").touch()
        assert healthy.wait(task_id)["result"] == {"answer": True}
        assert healthy.redis.set("room", "x" * 100_000), "Redis itself takes changes"
    finally:
        healthy.redis.delete("ballast", "room")
    eventually(lambda: healthy.predict({"a": 1}, ASYNC).status_code == 200, "requests are taken again")
    healthy.redis.config_set("maxmemory", 0)


def test_who_was_told_to_poll_while_redis_was_away_finds_the_answer(healthy: Service) -> None:
    before = len(healthy.events("process"))
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(healthy.predict, {"predict": "{'polled': wait_for('polled')}"}, prefer="wait=1")
        eventually(lambda: len(healthy.events("process")) > before, "the task runs")
        eventually(lambda: [*healthy.redis.scan_iter("denzel/tested:claims:*")], "it is known")
        with healthy.paused("redis"):
            response = answer.result()
    assert response.status_code == 202
    key = "denzel/tested:task:" + response.json()["data"]["task_id"]
    eventually(lambda: healthy.redis.hget(key, "mode") == b"poll", "Redis is told")
    (healthy.project / "polled").touch()
    assert healthy.wait(response.json()["data"]["task_id"])["result"] == {"polled": True}
    assert healthy.redis.ttl(key) > 80_000


@pytest.mark.parametrize(
    ("deny", "allow", "reason", "logged"),
    [
        # What a failover leaves behind: a primary cut off from its replicas, and one that has become a replica.
        (
            "CONFIG SET min-replicas-to-write 1",
            "CONFIG SET min-replicas-to-write 0",
            "Redis refused: NOREPLICAS Not enough good replicas to write.",
            "NOREPLICAS",
        ),
        (
            "REPLICAOF 127.0.0.1 1",
            "REPLICAOF NO ONE",
            "Redis is a replica, which takes no changes; there will be a primary when its failover is over.",
            "read only replica",
        ),
    ],
    ids=["without its replicas", "a replica"],
)
def test_a_redis_that_takes_no_changes_loses_nothing(
    healthy: Service, deny: str, allow: str, reason: str, logged: str
) -> None:
    before, note = len(healthy.events("process")), logged.split()[0]
    running = healthy.submit({"predict": f"(wait_for('{note}'), note('{note}'), {{'a': 1}})[2]"})
    eventually(lambda: len(healthy.events("process")) > before, "the task runs")
    queued = healthy.submit({"a": 2})
    healthy.redis.execute_command(*deny.split())
    try:
        refused = [
            healthy.predict({"a": 3}),
            healthy.predict({"a": 3}, ASYNC),
            healthy.predict({"a": 3}, headers={"Idempotency-Key": note}),
            healthy.request("DELETE", f"/status/{queued}"),
        ]
        for response in refused:
            assert response.status_code == 503
            assert response.json()["title"] == "Service unavailable"
            assert response.json()["description"] == reason
            assert int(response.headers["Retry-After"]) > 0
        assert healthy.status(queued)["status"] == "PENDING"
        (healthy.project / note).touch()
        eventually(lambda: healthy.events(note), "the task is computed")
        eventually(lambda: healthy.get("/ready").status_code == 503, "/ready tells")
        assert re.search(rf"Redis did not serve a request: {re.escape(reason[:-1])}( \[.*\])?\n", healthy.log("api"))
        for line in ("Redis does not serve", "No heartbeat could be written"):
            eventually(lambda line=line: re.search(f"{line}.*{logged}", healthy.log("denzel")), f"the log says: {line}")
    finally:
        healthy.redis.execute_command(*allow.split())
    for task_id, result in ((running, {"a": 1}), (queued, {"answer": {"a": 2}})):
        record = healthy.wait(task_id, timeout=20)
        assert (record["result"], record["attempts"]) == (result, 1)
    assert len(healthy.events(note)) == 1
    check_answers(healthy)


def waits_for_messages(service: Service) -> bool:
    """Whether its processes have not been listed as idle for longer than they are after their last task."""
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        if service.redis.exists("denzel/tested:idle:3"):
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize(
    ("deny", "allow", "error"),
    [
        ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0", "NOREPLICAS"),
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", "You can't write against a read only replica"),
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", "command not allowed when used memory > 'maxmemory'"),
    ],
    ids=["without its replicas", "a replica", "full"],
)
def test_an_idle_process_keeps_its_model_while_redis_takes_no_changes(
    healthy: Service, deny: str, allow: str, error: str
) -> None:
    processes, loads = healthy.predictors(), len(healthy.events("load_model"))
    seen = len(healthy.log("denzel"))
    eventually(lambda: waits_for_messages(healthy), "it waits for messages, not for the next task")
    healthy.redis.execute_command(*deny.split())
    try:
        healthy.redis.execute_command("CLIENT", "KILL", "TYPE", "normal")
        refused = f"Cannot connect to redis.*{error}"
        eventually(lambda: len(re.findall(refused, healthy.log("denzel")[seen:])) >= 2, "it tries to connect again")
    finally:
        healthy.redis.execute_command(*allow.split())
    assert healthy.predict({"a": 1}, prefer="wait=20").json() == {"answer": {"a": 1}}
    assert (healthy.predictors(), len(healthy.events("load_model"))) == (processes, loads)
    assert "Frequent restarts" not in healthy.log("denzel"), "it pauses in between"


def test_idle_connections_to_redis_are_not_given_up(service: Service) -> None:
    eventually(
        lambda: time.time() - service.started > 8, "the service has been there for longer than any timeout of Redis"
    )
    for name in ("api", "denzel"):
        assert "Redis" not in service.log(name)
