"""Batches find their size under load."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from tests.support.services import Service

CLIENTS = 64
# Calls, of both processes, in which the size is found, and those that count then.
LEARNING, COUNTED = 60, 60


@pytest.fixture(scope="module")
def fixed_cost(new_service: Callable[..., Service]) -> Service:
    service = new_service("fixed_cost", WORKER_CONCURRENCY=2)
    service.start("redis", "api", "denzel")
    service.wait_ready(processes=2)
    return service


def calls(service: Service) -> list[int]:
    """The sizes of all calls, in order."""
    return [int(words[3]) for words in service.events("call")]


async def load(service: Service) -> None:
    """Clients that send the next request once the last is answered, until enough calls were made."""
    address = urlsplit(service.url)
    done = asyncio.Event()

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        body = b'{"data": {"a": %d}}' % number
        head = b"POST /predict HTTP/1.1\r\nHost: tested\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        while not done.is_set():
            writer.write(head % len(body) + body)
            answer = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(answer.split(b"content-length:")[1].split(b"\r\n")[0])
            assert answer.startswith(b"http/1.1 200"), answer
            assert await reader.readexactly(length) == b'{"a":%d}' % number
        writer.close()

    async def watch() -> None:
        while len(calls(service)) < LEARNING + COUNTED:
            await asyncio.sleep(0.05)
        done.set()

    await asyncio.wait_for(asyncio.gather(watch(), *map(client, range(CLIENTS))), 60)


def test_where_calls_cost_the_same_batches_grow(fixed_cost: Service) -> None:
    asyncio.run(load(fixed_cost))
    sizes = calls(fixed_cost)[LEARNING : LEARNING + COUNTED]
    assert sum(sizes) / len(sizes) > 16, sizes
