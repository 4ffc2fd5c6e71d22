"""A project's own names in a Redis that others use, too: of other names, of the same one, and of an earlier version."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from tests.support.services import Service
from tests.support.waiting import eventually

ANOTHER = "Another project is called 'tested' and has this Redis database already: the one with PROJECT_ID=first,"


@pytest.fixture(scope="module")
def first(new_service: Callable[..., Service]) -> Service:
    """A project with an identity, whose Redis the others use."""
    service = new_service(PROJECT_ID="first", WORKER_CONCURRENCY=1)
    service.start("redis", "api", "denzel")
    service.wait_ready()
    return service


@pytest.fixture
def second(first: Service, new_service: Callable[..., Service]) -> Iterator[Callable[..., Service]]:
    """Call it with settings: another project on that Redis, stopped at the end."""
    made: list[Service] = []

    def create(pipeline: str = "scripted", **settings: str) -> Service:
        service = new_service(pipeline, REDIS_URL=first.redis_url, DIRECT="off", **settings)
        service.redis = first.redis
        made.append(service)
        return service

    yield create
    for service in made:
        for name in ("denzel", "api", "monitor"):
            service.stop(name)


def ask(service: Service, count: int = 100) -> list[object]:
    with ThreadPoolExecutor(8) as threads:
        return [
            answer.json() for answer in threads.map(lambda n: service.predict({"a": n}, prefer="wait=20"), range(count))
        ]


@pytest.mark.parametrize("broker", [{}, {"DIRECT": "off"}])
def test_projects_of_different_names_share_a_redis(
    first: Service, new_service: Callable[..., Service], broker: dict
) -> None:
    other = new_service(REDIS_URL=first.redis_url, PROJECT_SLUG="other", PROJECT_ID="second", **broker)
    pipeline = other.project / "app/logic/pipeline.py"
    pipeline.write_text(pipeline.read_text().replace('"answer"', '"theirs"'))
    assert '"theirs"' in pipeline.read_text()
    other.start("api", "denzel")
    eventually(lambda: other.get("/ready").status_code == 200, "it is ready", 30)
    with ThreadPoolExecutor(2) as threads:
        ours, theirs = threads.map(ask, (first, other))
    assert ours == [{"answer": {"a": n}} for n in range(100)]
    assert theirs == [{"theirs": {"a": n}} for n in range(100)]
    assert [worker["name"] for worker in first.ready()["workers"]] == ["worker@tested"]
    assert [worker["name"] for worker in other.ready()["workers"]] == ["worker@other"]
    task_id = first.submit({"a": 1})
    first.wait(task_id)
    assert other.get(f"/status/{task_id}").status_code == 404
    names = {key.decode().partition(":")[0] for key in first.redis.scan_iter()}
    assert names == {"denzel/tested", "denzel/other"}, "Celery's own too carry the project"
    for name in ("denzel", "api"):
        other.stop(name)


@pytest.mark.parametrize("identity", ["second", ""])
def test_a_second_project_of_the_name_does_not_start(
    first: Service, second: Callable[..., Service], identity: str
) -> None:
    service = second(PROJECT_ID=identity)
    for name in ("api", "denzel", "monitor"):
        service.start_only(name)
    for name in ("api", "denzel", "monitor"):
        assert service.wait_for_end(name) != 0
        said = service.log(name)
        assert ANOTHER in said, said
        assert "Give this project another name (COMPOSE_PROJECT_NAME in .env) or another database" in said
        assert "PROJECT_ID=first" in said.splitlines()[-1] or name == "api"
        assert "Traceback" not in said, said
    assert ask(first, 3) == [{"answer": {"a": n}} for n in range(3)]
    assert len(first.ready()["workers"]) == 1


def test_who_has_the_identity_joins(first: Service, second: Callable[..., Service]) -> None:
    service = second(PROJECT_ID="first")
    service.start("api")
    assert service.predict({"a": 1}, prefer="wait=20").json() == {"answer": {"a": 1}}


def test_a_redis_that_becomes_another_projects_is_noticed(new_service: Callable[..., Service]) -> None:
    service = new_service(PROJECT_ID="first")
    service.start("redis", "api", "denzel")
    service.wait_ready()
    service.redis.hset(f"{service.prefix}project", "identity", "third")
    service.redis.client_kill_filter(_type="normal", skipme=True)
    service.redis.client_kill_filter(_type="pubsub")
    reason = eventually(
        lambda: (found := service.get("/ready")).status_code == 503 and found.json()["reason"], "it is not ready", 20
    )
    assert "PROJECT_ID=third" in reason
    answer = service.predict({"a": 1})
    assert answer.status_code == 503
    assert "PROJECT_ID=third" in answer.text
    service.redis.hset(f"{service.prefix}project", "identity", "first")
    eventually(lambda: service.predict({"a": 1}).status_code == 200, "it serves again", 20)


def earlier(client: redis.Redis) -> None:
    """What a version left whose names did not tell the project: tasks in every state, and what passes."""
    now = time.time()
    for task_id, status in (("waits", "PENDING"), ("ran", "STARTED"), ("done", "SUCCESS"), ("later", "PENDING")):
        record = {"status": status, "mode": "async", "request": json.dumps({"a": task_id}), "accepted": now,
                  "reply_to": "", "callback_uri": ""}  # fmt: skip
        if status == "SUCCESS":
            record |= {"result": '{"answer":1}', "ended": now}
        if status == "STARTED":
            record |= {"token": "gone", "worker": "worker@tested", "started": now, "attempts": 1}
        client.hset(f"denzel:task:{task_id}", mapping=record)
    client.expire("denzel:task:done", 1000)
    client.lpush("denzel:waiting", "waits")
    client.zadd("denzel:delayed", {"later": now + 1})
    client.sadd("denzel:claims:gone", "ran")
    client.sadd("denzel:claimants", "gone")
    client.set("denzel:idempotency:abc", "done digest", ex=1000)
    client.set("synchronous_timeout", "0.0")
    client.set("denzel:last_beat", int(now) - 100)
    client.rpush("denzel:idle:3", "gone worker@tested 1 1 0 0")
    client.rpush("denzel", "ticket")
    client.sadd("_kombu.binding.denzel", "denzel\x06\x16\x06\x16denzel")
    client.hset("denzel:nodes", "worker@tested", b"%d %s" % (now - 100, json.dumps({"state": "UP", "up": 1}).encode()))


def test_what_an_earlier_version_left_is_taken_over(new_service: Callable[..., Service]) -> None:
    service = new_service(PROJECT_ID="first")
    service.start("redis")
    earlier(service.redis)
    service.redis.set("of somebody else", 1)
    service.start("api", "denzel")
    service.wait_ready()
    for task_id in ("waits", "ran", "later"):
        found = eventually(
            lambda task_id=task_id: (
                service.redis.hgetall(f"{service.prefix}task:{task_id}").get(b"status") == b"SUCCESS"
            ),
            f"{task_id} runs",
            30,
        )
        assert found
    assert 900 < service.redis.ttl(f"{service.prefix}task:done") <= 1000
    assert service.redis.get(f"{service.prefix}idempotency:abc") == b"done digest"
    assert service.predict({"a": 1}).json()["status"] == "success", "the live setting is asynchronous still"
    left = {key.decode() for key in service.redis.scan_iter() if not key.startswith(service.prefix.encode())}
    assert left == {"of somebody else"}


def test_what_another_project_of_an_earlier_version_left_is_not_taken(new_service: Callable[..., Service]) -> None:
    service = new_service(PROJECT_ID="first")
    service.start("redis")
    earlier(service.redis)
    service.redis.hset("denzel:nodes", "worker@theirs", service.redis.hget("denzel:nodes", "worker@tested"))
    service.redis.hdel("denzel:nodes", "worker@tested")
    before = sorted(service.redis.scan_iter())
    service.start("api", "denzel")
    service.wait_ready()
    assert sorted(key for key in service.redis.scan_iter() if not key.startswith(b"denzel/")) == before
    assert not service.redis.exists(f"{service.prefix}task:waits")


def test_what_a_worker_of_an_earlier_version_is_at_stays_its_own(new_service: Callable[..., Service]) -> None:
    """It is taken over when that worker has ended, and joins what is there by then."""
    service = new_service(PROJECT_ID="first")
    service.start("redis")
    earlier(service.redis)
    service.redis.hset("denzel:nodes", "worker@tested", b'%d {"state":"UP"}' % (time.time() + 3600))
    service.start("api")
    new = service.submit({"a": "new"})
    assert service.redis.llen("denzel:waiting") == 1
    service.redis.hset("denzel:nodes", "worker@tested", b'%d {"state":"UP"}' % (time.time() - 60))
    service.start("denzel")
    service.wait_ready()
    assert service.wait(new, 30)["status"] == "SUCCESS"
    eventually(lambda: service.redis.hget(f"{service.prefix}task:waits", "status") == b"SUCCESS", "it runs", 30)
    assert not service.redis.exists("denzel:waiting")
