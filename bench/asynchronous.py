"""Tasks that are only accepted, and answered by callbacks, in the same paired turns: ours, Denzel and FastAPI + Celery.

A turn: with the worker processes frozen, tasks are accepted on 16 connections; then the worker goes on, and the time
counts until a receiver on this machine has got all callbacks.
"""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from load import wrk_file
from paired import SETTLE, wake
from processes import Running, Server, post
from receiver import delivered, wait_for_silence

PEERS = ("celery", "denzel")
CONNECTIONS = 16
MOST = 120.0  # seconds for which callbacks of a turn are waited for


@dataclass(frozen=True)
class AsyncTurn:
    """What was measured of a server in one round: tasks per second accepted, and delivered after that."""

    server: str
    round: int
    accepted: float
    delivered: float
    tasks: int
    lost: int
    errors: int


class Accepter:
    """A server that runs, frozen while it is not its turn, with a request whose answer goes to the receiver."""

    def __init__(self, name: str, service: Running, request: dict[str, Any], receiver: int, body: Path) -> None:
        self.name = name
        self._service, self._receiver, self._body = service, receiver, body
        server = service.server
        body.parent.mkdir(parents=True, exist_ok=True)
        body.write_text(json.dumps({**request, "callback_uri": f"http://127.0.0.1:{receiver}/"}))
        if name == "denzel":
            _denzel_answers_asynchronously(server, request)
        start = delivered(receiver)
        wrk_file(server.url(), body, CONNECTIONS, 1, Prefer="respond-async")
        wait_for_silence(receiver)
        if delivered(receiver) == start:
            raise RuntimeError(f"{server.name} delivers no callbacks")
        service.wait_until_idle()
        service.freeze()

    def turn(self, number: int, seconds: float) -> AsyncTurn:
        """Accept tasks for this time, and wait until they are done."""
        self._service.go_on()
        time.sleep(SETTLE)
        try:
            wake(self._service.server, self._body.read_bytes(), Prefer="respond-async")
            wait_for_silence(self._receiver)
            start = delivered(self._receiver)
            with self._service.stopped("worker"):
                url = self._service.server.url()
                accepted = wrk_file(url, self._body, CONNECTIONS, seconds, Prefer="respond-async")
            began = time.perf_counter()
            while delivered(self._receiver) - start < accepted.requests and time.perf_counter() - began < MOST:
                time.sleep(0.01)
            took = time.perf_counter() - began
            wait_for_silence(self._receiver)
        finally:
            self._service.freeze()
        # wrk does not count the last request of each connection, which it does not wait for
        arrived = min(delivered(self._receiver) - start, accepted.requests)
        lost = accepted.requests - arrived
        return AsyncTurn(self.name, number, accepted.rate, arrived / took, accepted.requests, lost, accepted.errors)


def as_rows(turns: list[AsyncTurn]) -> list[dict[str, Any]]:
    """For a file of raw figures."""
    return [asdict(turn) for turn in turns]


def _denzel_answers_asynchronously(server: Server, request: dict[str, Any]) -> None:
    """What `denzel response --async` does."""
    redis_port = server.environment["CELERY_BROKER"].rpartition(":")[2].split("/")[0]
    command = ["redis-cli", "-p", redis_port, "set", "synchronous_timeout", "0.0"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    asked = {**request, "callback_uri": "http://127.0.0.1:9/"}
    assert b"task_id" in post(server.port, server.path, json.dumps(asked).encode())[1]
