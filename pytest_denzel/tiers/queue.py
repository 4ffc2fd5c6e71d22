"""The queue without the API: tasks are handed to it with the project's own code, on an event loop of their own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from unittest import mock

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
    """The project's own `QueueExecutor`, as its API uses it."""

    def __init__(self, redis_url: str, broker_url: str, secret: str) -> None:
        # the modules of the queue read the settings when they are imported
        environment = {"REDIS_URL": redis_url, "BROKER_URL": broker_url, "CALLBACK_SECRET": secret}
        with mock.patch.dict(os.environ, environment):
            from denzel.api.task_id import TaskIds
            from denzel.queue.executor import QueueExecutor
            from denzel.settings import Settings

            self._executor = QueueExecutor(Settings.from_environment())
        self._ids = TaskIds(secret)
        self._loop = Loop("denzel-queue")
        self._loop.run(self._executor.start())

    def submit(self, request: bytes, callback_uri: str | None) -> str:
        """Accept an asynchronous task; its id."""
        from denzel.executor import Task

        task = Task(self._ids.new(), request, "async", callback_uri)
        self._loop.run(self._executor.submit(task))
        return task.id

    def status(self, task_id: str) -> dict[str, Any] | None:
        """The body of /status, None when the task is unknown."""
        return self._loop.run(self._executor.status(task_id))

    def readiness(self) -> dict[str, Any]:
        """The body of /ready."""
        return self._loop.run(self._executor.readiness())

    def close(self) -> None:
        """Let go of the connections."""
        self._loop.run(self._executor.stop())
        self._loop.close()
