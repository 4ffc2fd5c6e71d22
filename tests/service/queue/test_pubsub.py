"""Connections to Redis that die in silence: who only listens notices, connects again, and misses nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from redis import asyncio as redis_asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from denzel.callbacks import courier
from denzel.queue import pubsub
from tests.service.support.sending import Sending
from tests.support.receivers import Receivers
from tests.support.services import Service
from tests.support.waiting import eventually

SOON = 0.5  # seconds between two questions for a sign of life, in these tests


class Proxy:
    """A way to Redis that can be cut in silence: the connections stay open, and nothing passes. A context manager."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._writers: list[asyncio.StreamWriter] = []
        self._deaf: set[asyncio.StreamWriter] = set()

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *exception: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """From now on nothing passes on the connections that there are; new ones can be made."""
        self._deaf.update(self._writers)

    def _run(self, work: object) -> object:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _close(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        ends = ((reader, far_writer), (far_reader, writer))
        self._writers += [far_writer, writer]
        try:
            await asyncio.gather(*(self._copy(*end) for end in ends))
        finally:
            writer.close()
            far_writer.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                if writer not in self._deaf:
                    writer.write(data)
        if writer not in self._deaf:
            writer.close()


@pytest.fixture
def proxy(redis_service: Service) -> Iterator[Proxy]:
    with Proxy(redis_service.ports["redis"]) as proxy:
        yield proxy


def test_a_silent_connection_is_an_error_for_who_listens(
    redis_service: Service, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pubsub, "ASK_EVERY", 0.2)
    url = url_of(redis_service, proxy)

    heard = []

    async def listen() -> None:
        retry = Retry(NoBackoff(), 0)
        async with redis_asyncio.Redis.from_url(url, retry=retry) as client, client.pubsub() as subscription:
            await subscription.subscribe("news")
            async for message in pubsub.messages(subscription):
                if message["type"] == "subscribe":  # later than a silent one would be closed
                    asyncio.get_running_loop().call_later(1, redis_service.redis.publish, "news", "first")
                else:
                    heard.append(message["data"])
                    proxy.cut()
                    redis_service.redis.publish("news", "second")

    until = time.monotonic() + 10
    with pytest.raises((RedisError, OSError)):
        asyncio.run(asyncio.wait_for(listen(), 10))
    assert time.monotonic() < until
    assert heard == [b"first"]


@pytest.fixture
def quick(new_project: Callable[[], object]) -> Iterator[Service]:
    """A service in which those who listen ask for a sign of life often."""
    project = new_project()
    module = project / "denzel/queue/pubsub.py"
    text = module.read_text()
    assert text.count("ASK_EVERY = 5.0\n") == 1
    module.write_text(text.replace("ASK_EVERY = 5.0\n", f"ASK_EVERY = {SOON}\n"))
    with Service(project) as service:
        service.start("redis")
        yield service


def url_of(service: Service, proxy: Proxy) -> str:
    """The REDIS_URL that leads through the proxy."""
    return service.redis_url.replace(str(service.ports["redis"]), str(proxy.port))


def start_behind(service: Service, proxy: Proxy, name: str) -> None:
    """Start one of the services with this way to Redis."""
    direct = service.environment
    service.environment = {**direct, "REDIS_URL": url_of(service, proxy)}
    service.start(name)
    service.environment = direct


def test_an_answer_that_is_lost_on_a_silent_connection_is_found(quick: Service) -> None:
    with Proxy(quick.ports["redis"]) as proxy, ThreadPoolExecutor() as pool:
        start_behind(quick, proxy, "api")
        quick.start("denzel")
        quick.wait_ready()
        answer = pool.submit(quick.predict, {"predict": "{'waited': wait_for('cut')}"}, prefer="wait=25")
        eventually(lambda: quick.events("process"), "the task runs")
        proxy.cut()
        (quick.project / "cut").touch()
        assert answer.result().json() == {"waited": True}
        quick.stop("api")


def test_a_task_that_is_cancelled_behind_a_silent_connection_is_stopped(quick: Service) -> None:
    with Proxy(quick.ports["redis"]) as proxy:
        quick.start("api")
        start_behind(quick, proxy, "denzel")
        quick.wait_ready()
        [process] = quick.predictors()
        task_id = quick.submit({"predict": "time.sleep(60)"})
        eventually(lambda: quick.events("process"), "the task runs")
        proxy.cut()
        assert quick.request("DELETE", f"/status/{task_id}").status_code == 202
        ended = f"Task {task_id} was cancelled: its call has ended"
        eventually(lambda: ended in quick.log("denzel"), "its call is stopped")
        assert quick.predictors() == [process], "it heeds the exception"
        quick.kill("denzel")  # a stop would wait for what is under way on other silent connections


def test_callbacks_are_sent_at_once_again_after_a_silent_connection(quick: Service) -> None:
    def listeners() -> int:
        return quick.redis.pubsub_numsub("denzel/tested:callbacks:wake")[0][1]

    with (
        Receivers() as receivers,
        Proxy(quick.ports["redis"]) as proxy,
        Sending(quick, REDIS_URL=url_of(quick, proxy)) as sending,
    ):
        receiver = receivers.open()
        eventually(lambda: listeners() == 1, "it listens")
        proxy.cut()
        eventually(lambda: listeners() == 2, "it listens again, beside the connection that is dead")
        sending.wait(*sending.finish(receiver.url), state="delivered", timeout=20)
        began = time.monotonic()
        for number in range(2, 8):
            sending.finish(receiver.url)
            receiver.wait(number)
        assert time.monotonic() - began < courier.POLL * 3, "without a wake-up each would wait for the next look"


def test_connections_that_end_again_and_again_are_replaced(
    redis_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it asks for signs of life all the time: asking must not connect while listening does."""
    monkeypatch.setattr(pubsub, "ASK_EVERY", 0.0005)

    async def listen(client: redis_asyncio.Redis, heard: list[bytes]) -> None:
        while True:
            with suppress(RedisError, OSError):
                async with client.pubsub() as subscription:
                    await subscription.subscribe("news")
                    async for message in pubsub.messages(subscription):
                        if message["type"] == "message":
                            heard.append(message["data"])

    async def run() -> None:
        heard: list[bytes] = []
        async with redis_asyncio.Redis.from_url(redis_service.redis_url, socket_timeout=2) as client:
            listening = asyncio.create_task(listen(client, heard))
            for _ in range(150):
                await client.client_kill_filter(_type="pubsub", skipme=True)
                await asyncio.sleep(0.005)
                assert not listening.done(), listening.exception()
            for _ in range(200):
                await client.publish("news", "good")
                if heard:
                    break
                await asyncio.sleep(0.02)
            assert heard
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening

    asyncio.run(run())
