"""The queue without the API: tasks are handed to it with the project's own code, on an event loop of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_denzel.in_process.loop import Loop

__tracebackhide__ = True

_clients: dict[str, QueueClient] = {}


def client(values: Mapping[str, str]) -> QueueClient:
    """The client of a tier's service, by its `values`; one for each process of the session."""
    redis_url = values["redis_url"]
    if redis_url not in _clients:
        _clients[redis_url] = QueueClient(redis_url, values.get("broker_url", redis_url), values["secret"])
    return _clients[redis_url]


def close_all() -> None:
    """Close the clients of this process."""
    while _clients:
        _clients.popitem()[1].close()


class QueueClient:
    """The project's own queue, as its API uses it, for code that is not asynchronous."""

    def __init__(self, redis_url: str, broker_url: str, secret: str) -> None:
        from denzel import testing

        self._queue = testing.Queue(redis_url, broker_url, secret)
        self._loop = Loop("denzel-queue")
        self._loop.run(self._queue.start())

    def submit(self, request: bytes, callback_uri: str | None) -> str:
        """Accept an asynchronous task; its id."""
        return self._loop.run(self._queue.submit(request, callback_uri))

    def status(self, task_id: str) -> dict[str, Any] | None:
        """The body of /status, None when the task is unknown; denzel.testing.OutOfReach when Redis does not answer."""
        return self._loop.run(self._queue.status(task_id))

    def cancel(self, task_id: str) -> None:
        """Cancel a task, unless it has ended or is unknown; raises as `status` does."""
        self._loop.run(self._queue.cancel(task_id))

    def readiness(self) -> dict[str, Any]:
        """The body of /ready."""
        return self._loop.run(self._queue.readiness())

    def close(self) -> None:
        """Let go of the connections."""
        self._loop.run(self._queue.stop())
        self._loop.close()
