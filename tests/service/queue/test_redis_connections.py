"""The thin connections to Redis of the API and the workers: answers, errors, and what a broken or silent one does."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import redis
import requests
from redis.exceptions import ConnectionError, NoScriptError, OutOfMemoryError, ResponseError

from denzel.queue import api_connection
from denzel.queue.api_connection import ApiConnection
from denzel.queue.broker import create_celery
from denzel.queue.scripts import Script
from denzel.queue.worker_connection import WorkerConnection
from denzel.settings import Settings
from tests.support.services import Service
from tests.support.waiting import eventually, eventually_on_loop

ADD = Script("return {ARGV[1], ARGV[2], now}")
CHANNEL = "denzel/tested:replies:test"


class Listener:
    """What a lane has heard, and how often it has connected."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.connections = 0

    async def connected(self) -> None:
        self.connections += 1


@asynccontextmanager
async def lane(url: str, listener: Listener) -> AsyncIterator[ApiConnection]:
    lane = ApiConnection(url, CHANNEL, listener.heard.append, listener.connected)
    running = asyncio.create_task(lane.run())
    try:
        yield lane
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def with_lane(
    url: str,
    test: Callable[[ApiConnection, Listener], Awaitable[None]],
    new_listener: Callable[[], Listener] = Listener,
) -> None:
    async def main() -> None:
        listener = new_listener()
        async with lane(url, listener) as open_lane:
            await test(open_lane, listener)

    asyncio.run(main())


def kill_connections(client: redis.Redis) -> None:
    """Close all connections of others."""
    for kind in ("normal", "pubsub"):
        client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")


def test_answers_come_in_order_however_many_ask(redis_service: Service) -> None:
    async def test(lane: ApiConnection, listener: Listener) -> None:
        answers = await asyncio.gather(*(ADD.call(lane, number, b"\0\xff") for number in range(100)))
        assert [answer[:2] for answer in answers] == [[b"%d" % number, b"\0\xff"] for number in range(100)]

    with_lane(redis_service.redis_url, test)


def test_errors_are_those_of_redis_py(redis_service: Service) -> None:
    async def test(lane: ApiConnection, listener: Listener) -> None:
        redis_service.redis.script_flush()
        assert (await ADD.call(lane, "a", "b"))[:2] == [b"a", b"b"], "a script that the server lost is sent again"
        with pytest.raises(NoScriptError):
            await lane.evalsha("0" * 40, 0)
        with pytest.raises(OutOfMemoryError):
            await lane.eval("return redis.error_reply('OOM full')", 0)
        with pytest.raises(ResponseError, match="no such thing"):
            await lane.eval("return redis.error_reply('ERR no such thing')", 0)
        assert await lane.eval("return 1", 0) == 1

    with_lane(redis_service.redis_url, test)


def test_messages_come_between_answers(redis_service: Service) -> None:
    async def test(lane: ApiConnection, listener: Listener) -> None:
        for number in range(20):
            publish = f"redis.call('PUBLISH', '{CHANNEL}', '{number}') return {number}"
            assert await lane.eval(publish, 0) == number
        await eventually_on_loop(lambda: len(listener.heard) == 20, "all messages")
        assert listener.heard == [b"%d" % number for number in range(20)]

    with_lane(redis_service.redis_url, test)


def test_a_closed_connection_is_made_again_and_the_command_repeated(redis_service: Service) -> None:
    async def test(lane: ApiConnection, listener: Listener) -> None:
        for number in range(1, 4):
            assert await lane.eval("return 1", 0) == 1
            assert listener.connections == number
            kill_connections(redis_service.redis)
            assert await lane.eval("return 2", 0) == 2
            await eventually_on_loop(
                lambda number=number: listener.connections == number + 1, "it was told of the connection"
            )
        redis_service.redis.publish(CHANNEL, "back")
        await eventually_on_loop(lambda: listener.heard == [b"back"], "the channel is subscribed to again")

    with_lane(redis_service.redis_url, test)


def test_a_connection_on_which_nothing_could_be_caught_up_with_is_made_again(redis_service: Service) -> None:
    class Refused(Listener):
        async def connected(self) -> None:
            await super().connected()
            if self.connections < 3:
                raise ResponseError("LOADING Redis is loading the dataset in memory")

    async def test(lane: ApiConnection, listener: Listener) -> None:
        await eventually_on_loop(lambda: listener.connections == 3, "it is tried again")
        assert await lane.eval("return 1", 0) == 1

    with_lane(redis_service.redis_url, test, Refused)


def test_who_asks_hears_at_once_that_there_is_no_redis() -> None:
    async def test(lane: ApiConnection, listener: Listener) -> None:
        for _ in range(3):
            began = time.monotonic()
            with pytest.raises(ConnectionError, match="Connect"):
                await lane.eval("return 1", 0)
            assert time.monotonic() - began < 1

    with_lane("redis://127.0.0.1:9/0", test)


def test_a_user_who_may_not_listen_is_told(redis_service: Service, caplog: pytest.LogCaptureFixture) -> None:
    async def test(lane: ApiConnection, listener: Listener) -> None:
        began = time.monotonic()
        with pytest.raises(ConnectionError):
            await lane.eval("return 1", 0)
        assert time.monotonic() - began < 1
        assert "Redis refused the channel of replies" in caplog.text

    rules = ("on", ">word", "~*", "+@all", "resetchannels")
    redis_service.redis.execute_command("ACL", "SETUSER", "deaf", *rules)
    with_lane(f"redis://deaf:word@127.0.0.1:{redis_service.ports['redis']}/0", test)


def test_a_silent_connection_is_closed(new_service: Callable[..., Service], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_connection, "ASK_EVERY", 0.3)
    service = new_service()
    service.start("redis")

    async def test(lane: ApiConnection, listener: Listener) -> None:
        assert await lane.eval("return 1", 0) == 1
        with service.paused("redis"), pytest.raises(ConnectionError):
            await asyncio.wait_for(lane._wire.send("PING"), 10)  # type: ignore[union-attr]
        assert await lane.eval("return 2", 0) == 2
        assert listener.connections >= 2

    with_lane(service.redis_url, test)


def test_a_worker_goes_on_when_its_connection_was_closed(redis_service: Service) -> None:
    worker = WorkerConnection(redis_service.redis_url)
    for _ in range(3):
        assert ADD(worker, "a", b"\xff")[:2] == [b"a", b"\xff"]
        kill_connections(redis_service.redis)
        with pytest.raises(ConnectionError):
            ADD(worker, "a", "b")
    redis_service.redis.script_flush()
    assert ADD(worker, "a", "b")[:2] == [b"a", b"b"]
    with pytest.raises(ResponseError, match="no such thing"):
        worker.eval("return redis.error_reply('ERR no such thing')", 0)


def test_a_worker_waits_on_a_list(redis_service: Service) -> None:
    worker, other = (WorkerConnection(redis_service.redis_url) for _ in range(2))

    def wait(seconds: float) -> bytes | None:
        worker.begin_wait("denzel/tested:hand:x", seconds)
        return worker.end_wait()

    began = time.monotonic()
    assert wait(0.1) is None
    assert time.monotonic() - began >= 0.1
    redis_service.redis.lpush("denzel/tested:hand:x", b"first")
    assert wait(5) == b"first"

    number = worker.client_id
    worker.begin_wait("denzel/tested:hand:x", 20)
    other.unblock(number)
    assert worker.end_wait() is None
    assert time.monotonic() - began < 10


def test_a_worker_hears_that_there_is_no_redis() -> None:
    with pytest.raises(ConnectionError):
        WorkerConnection("redis://127.0.0.1:9/0").eval("return 1", 0)


def test_a_lane_leaves_no_connection_behind(redis_service: Service) -> None:
    def connections() -> int:
        return len([client for client in redis_service.redis.client_list() if client["sub"] == "1"])

    async def test(lane: ApiConnection, listener: Listener) -> None:
        assert await lane.eval("return 1", 0) == 1
        assert connections() == 1

    with_lane(redis_service.redis_url, test)
    eventually(lambda: connections() == 0, "it is closed")


def test_redis_may_be_on_a_unix_socket(new_service: Callable[..., Service], short_tmp: Path) -> None:
    program, socket = short_tmp / "redis-server", short_tmp / "socket"
    program.write_text(f'#!/bin/sh\nexec redis-server "$@" --unixsocket {socket}\n')
    program.chmod(0o755)
    url = f"unix://:pass%40word@{socket}?db=0"
    service = new_service(REDIS_SERVER=program, REDIS_PASSWORD="pass@word", REDIS_URL=url)
    service.redis = redis.Redis.from_url(url)
    service.start("redis", "api", "denzel", "monitor")
    service.wait_ready()
    assert service.predict({"a": 1}).json() == {"answer": {"a": 1}}
    task_id = service.submit({"a": 2})
    assert service.wait(task_id)["result"] == {"answer": {"a": 2}}
    tasks = f"http://127.0.0.1:{service.ports['monitor']}/api/tasks"
    login = ("admin", service.environment["MONITOR_PASSWORD"])
    eventually(lambda: task_id in requests.get(tasks, auth=login, timeout=5).json(), "the monitor shows the task")


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("unix:///run/redis", "redis+socket://:@/run/redis?virtual_host=0"),
        ("unix://me:p%40ss@/a%20b/redis?db=2", "redis+socket://me:p%40ss@/a%20b/redis?virtual_host=2"),
        ("unix:///run/redis?db=2&password=p@ss", "redis+socket://:p%40ss@/run/redis?virtual_host=2"),
        ("redis://:p%40ss@host/2", "redis://:p%40ss@host/2"),
    ],
)
def test_the_broker_is_named_as_kombu_does(url: str, broker: str) -> None:
    assert create_celery(Settings.from_environment({"REDIS_URL": url})).conf.broker_url == broker


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """The name of a socket may have about a hundred characters."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)
