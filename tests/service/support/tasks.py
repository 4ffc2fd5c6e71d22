"""The life of tasks in Redis, as the API, the workers and the supervisor drive it: for the tests of each step."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import redis
from redis import asyncio as redis_asyncio

from denzel.executor import Task
from denzel.queue import claims, keys, nodes, store
from denzel.queue.ticket import QueueSettings
from denzel.queue.worker_connection import WorkerConnection
from denzel.worker.hand import Hand

TERMS = QueueSettings(ticket_queue="denzel", ticket=b"ticket", sync_expires=60, expires=86_400)

REVOKED = [b"REVOKED", b'{"args":["cancelled"],"type":"TaskRevokedError"}', b'"The task was cancelled."']


class Tasks:
    """The store's functions on a Redis that holds nothing, as the API, the workers and the supervisor call them."""

    def __init__(self, client: redis.Redis, url: str) -> None:
        self.redis = client
        self._url = url

    def call(self, function: Any, *arguments: Any, **options: Any) -> Any:
        """One of the asynchronous functions."""

        async def run() -> Any:
            client = redis_asyncio.Redis.from_url(self._url)
            try:
                return await function(client, *arguments, **options)
            finally:
                await client.aclose()

        return asyncio.run(run())

    def submit(
        self, *ids: str, mode: str = "sync", uri: str | None = None, most: int = 1000, default: float = 5.0
    ) -> tuple[float, int]:
        tasks = [Task(task_id, b'{"id":"%s"}' % task_id.encode(), mode, uri, reply_to="channel") for task_id in ids]
        submitted = self.call(store.submit, TERMS, tasks, most, default)
        self.refused = set(submitted.refused)
        return submitted[:2]

    def work(self, token: str, *ended: Any, most: int = 1, share: bool = False) -> list[str]:
        """Store what ended, claim more, as many as can be or a share of them; the ids of the claimed tasks."""
        claimant = new_claimant(token, most, share)
        claimed, waiting = claims.work(self.redis, TERMS, claimant, ended, most)
        assert waiting == len(self.waiting) or most < 0
        assert all(request == b'{"id":"%s"}' % task_id.encode() for task_id, request in claimed)
        return [task_id for task_id, _ in claimed]

    def beat(self, *tokens: str, up: int = 1, name: str = "worker@tested", full: bool = False) -> bool:
        return self.call(nodes.beat, TERMS, name, {"state": "UP", "up": up}, tokens, full)

    def release(self, token: str) -> bool:
        return self.call(nodes.release, TERMS, token)

    def promote(self, task_id: str, token: str, takes_long: bool = True) -> int:
        """A process that was given a task directly runs it for long, or its client is to poll."""
        link = SimpleNamespace(node=f"{token}@tested", token=token)
        given = SimpleNamespace(id=task_id, request=b"{}", accepted=time.time(), link=link, origin="", verify=None)
        return self.call(store.promote, TERMS, given, "channel", takes_long)

    def detach(self, task_id: str) -> list[bytes] | None:
        return self.call(store.detach, TERMS, task_id)

    def cancel(self, task_id: str) -> str | None:
        return self.call(store.cancel, TERMS, task_id)

    def record(self, task_id: str) -> dict[str, str]:
        return {
            key.decode(): value.decode() for key, value in self.redis.hgetall(f"denzel/tested:task:{task_id}").items()
        }

    def expiry(self, task_id: str) -> int:
        return self.redis.ttl(f"denzel/tested:task:{task_id}")

    @property
    def waiting(self) -> list[str]:
        """The ids that wait, the next one first."""
        return [task_id.decode() for task_id in reversed(self.redis.lrange("denzel/tested:waiting", 0, -1))]

    @property
    def counted_bytes(self) -> int:
        """The bytes of the requests that wait, as they are counted."""
        return int(self.redis.get(keys.WAITING_BYTES) or 0)

    @property
    def waiting_bytes(self) -> int:
        """The same, by looking at each that waits, or will again."""
        ids = {*self.waiting, *(task_id.decode() for task_id in self.redis.zrange(keys.DELAYED, 0, -1))}
        return sum(
            len(record["request"]) or self.redis.strlen(keys.REQUEST + task_id)
            for task_id in ids
            if (record := self.record(task_id)) and record["status"] == "PENDING"
        )

    @property
    def tickets(self) -> int:
        return self.redis.llen("denzel")


def new_claimant(token: str, most: int = 1, share: bool = False, quick: bool = False) -> claims.Claimant:
    """A process that claims as many as can be, or leaves the others their share of a few tasks."""
    return claims.Claimant(token, f"{token}@tested", most, 1 if share else max(1, most), 1.0 if share else 0.0, quick)


def success(task_id: str, result: bytes = b'{"a":1}') -> tuple[str, str, bytes, bytes]:
    return task_id, "SUCCESS", result, b""


def failure(task_id: str) -> tuple[str, str, bytes, bytes]:
    return task_id, "FAILURE", b'{"args":["no"],"type":"E"}', b'"no"'


def take(worker: WorkerConnection, claimant: claims.Claimant) -> claims.Claimed | None:
    """What an idle process is handed within a moment, None when nothing is."""
    hand = Hand(worker.url, claimant, None)
    found = hand.wait(0.05)
    hand.let_go(worker)
    return found
