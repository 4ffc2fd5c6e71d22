"""For the tests of callbacks: the process that sends them, and tasks that have ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from typing import Any

import redis

from tests.support.processes import memory_of
from tests.support.services import Service
from tests.support.waiting import eventually

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"  # the specification's example


class Sending:
    """The process that sends callbacks, and the tasks it knows of."""

    def __init__(self, service: Service, **settings: str | float) -> None:
        self.service = service
        self.settings = {"CALLBACK_ALLOW": "127.0.0.1", **settings}
        self._process: subprocess.Popen | None = None
        self._log = service.project / ".test-logs" / "callbacks.log"

    @property
    def redis(self) -> redis.Redis:
        return self.service.redis

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def __enter__(self) -> Sending:
        self.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind:
            print("--- callbacks", self.log(), sep="\n")
        if self._process:
            self._process.kill()
            self._process.wait()

    def start(self) -> None:
        """Start the process."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "denzel.callbacks"],
                cwd=self.service.project,
                env=self.service.environment | {name: str(value) for name, value in self.settings.items()},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self) -> None:
        """kill -9."""
        os.kill(self.pid, signal.SIGKILL)
        assert self._process
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process
        self._process.terminate()
        return self._process.wait(15)

    def log(self) -> str:
        """What the process wrote."""
        return self._log.read_text() if self._log.exists() else ""

    def memory(self) -> float:
        """The process's resident memory in MiB."""
        return memory_of(self.pid)

    def finish(self, uri: str, *, count: int = 1, due: float = 0.0, wake: bool = True, **fields: Any) -> list[str]:
        """Tasks that have just ended, as `store` leaves them: their ids."""
        ids = [str(uuid.uuid4()) for _ in range(count)]
        now = time.time()
        pipeline = self.redis.pipeline(transaction=False)
        for task_id in ids:
            record = {"status": "SUCCESS", "mode": "async", "result": json.dumps({"id": task_id}), "accepted": now,
                      "ended": now, "callback_uri": uri, **fields}  # fmt: skip
            pipeline.hset(f"denzel/tested:task:{task_id}", mapping=record)
            pipeline.expire(f"denzel/tested:task:{task_id}", 86_400)
            pipeline.zadd("denzel/tested:callbacks", {task_id: now + due})
        if wake:
            pipeline.publish("denzel/tested:callbacks:wake", "")
        pipeline.execute()
        return ids

    def fill(self, uri: str, count: int) -> None:
        """So many retries (a multiple of 1000) that are not due for an hour."""
        script = """
        for i = ARGV[2], ARGV[2] + 999 do
            redis.call('HSET', 'denzel/tested:task:' .. i, 'status', 'SUCCESS', 'mode', 'async', 'result', '{}',
                       'callback_uri', ARGV[1], 'callback', '{"state": "pending", "attempts": 9}')
            redis.call('ZADD', 'denzel/tested:callbacks', ARGV[3] + i / 1000, i)
        end
        """
        for first in range(1, count, 1000):
            self.redis.eval(script, 0, uri, first, time.time() + 3600)

    def state(self, task_id: str) -> dict[str, Any]:
        """How a delivery stands."""
        return json.loads(self.redis.hget(f"denzel/tested:task:{task_id}", "callback") or "{}")

    def wait(self, task_id: str, timeout: float = 15.0, **wanted: Any) -> dict[str, Any]:
        """How a delivery stands, once it stands so."""

        def reached() -> dict[str, Any] | None:
            state = self.state(task_id)
            return state if wanted.items() <= state.items() else None

        return eventually(reached, f"{wanted} in {self.state(task_id)}", timeout)

    def make_due(self, task_id: str) -> None:
        """Let the time pass until a retry."""
        self.redis.zadd("denzel/tested:callbacks", {task_id: time.time()}, xx=True)
        self.redis.publish("denzel/tested:callbacks:wake", "")

    def left(self) -> int:
        """Callbacks that have not ended."""
        return self.redis.zcard("denzel/tested:callbacks")
