"""Load on a server: wrk for its speed, and a client of our own where every request or answer is to be another one."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paths import HERE

# Two flowers, as in the tutorial.
REQUEST: dict[str, Any] = {
    "data": {
        "a123": {"sepal-length": 4.6, "sepal-width": 3.6, "petal-length": 1.0, "petal-width": 0.2},
        "b456": {"sepal-length": 6.5, "sepal-width": 3.2, "petal-length": 5.1, "petal-width": 2.0},
    }
}


def require_programs() -> None:
    """Say what to install where something is missing."""
    missing = [name for name in ("wrk", "redis-server", "redis-cli") if not shutil.which(name)]
    if missing:
        raise SystemExit(f"{', '.join(missing)}: not installed. On Debian: apt install wrk redis-server redis-tools")


@dataclass(frozen=True)
class Measured:
    """What wrk saw; times in milliseconds."""

    requests: int
    rate: float
    p50: float
    p99: float
    errors: int


def wrk(url: str, request: Any, connections: int, seconds: float, **headers: str) -> Measured:
    """Send one request over and over on keep-alive connections; only answers below 400 count."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as body:
        json.dump(request, body)
        body.flush()
        return wrk_file(url, Path(body.name), connections, seconds, **headers)


def wrk_file(url: str, body: Path, connections: int, seconds: float, **headers: str) -> Measured:
    """`wrk` with a file as the body of each request."""
    options = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "60s", "--latency"]
    for name, value in headers.items():
        options += ["-H", f"{name}: {value}"]
    done = subprocess.run(
        ["wrk", *options, "-s", HERE / "post.lua", url],
        env={**os.environ, "BODY": str(body)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:  # it could not even connect
        raise RuntimeError(f"wrk: {done.stdout.strip()}")
    found = json.loads(done.stdout.splitlines()[-1])
    good = found["requests"] - found["bad_status"]
    return Measured(
        good,
        good / (found["microseconds"] / 1e6),
        found["p50"] / 1000,
        found["p99"] / 1000,
        found["bad_status"] + found["broken"],
    )


@dataclass(frozen=True)
class Answer:
    """One answer: its status and body, when its request was sent and when it came (seconds of one clock)."""

    status: int
    body: bytes
    sent: float
    came: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.came - self.sent


def send_all(port: int, path: str, bodies: Iterable[bytes], connections: int, **headers: str) -> list[Answer]:
    """Send each body once, in order, on so many keep-alive connections; the answers in the order of the bodies."""
    return asyncio.run(sending(port, path, bodies, connections, **headers))


async def sending(port: int, path: str, bodies: Iterable[bytes], connections: int, **headers: str) -> list[Answer]:
    """`send_all`, for several at the same time."""
    answers: dict[int, Answer] = {}
    left = enumerate(bodies)

    async def client() -> None:
        connection = await Connection.open(port)
        for index, body in left:
            sent = time.time()
            status, text = await connection.post(path, body, **headers)
            answers[index] = Answer(status, text, sent, time.time())
        connection.close()

    await asyncio.gather(*(client() for _ in range(connections)))
    return [answers[index] for index in sorted(answers)]


class Connection:
    """A connection that is kept for one request after the other."""

    def __init__(self, port: int) -> None:
        self._port = port

    @classmethod
    async def open(cls, port: int) -> Connection:
        """Connect to a port of this machine."""
        connection = cls(port)
        await connection.reopen()
        return connection

    async def reopen(self) -> None:
        """Connect anew."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 24)

    async def post(self, path: str, body: bytes, **headers: str) -> tuple[int, bytes]:
        """Send JSON; the answer's status and body."""
        more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{more}"
        self._writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(answer.split(b"content-length:")[1].split(b"\r\n")[0])
        text = await self._reader.readexactly(length)
        if b"connection: close" in answer:
            self.close()
            await self.reopen()
        return int(answer.split(b" ", 2)[1]), text

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


def repeated(request: Any, seconds: float) -> Iterator[bytes]:
    """The same body over and over, until so many seconds have passed."""
    body, deadline = json.dumps(request).encode(), time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield body


def require_success(answers: Iterable[Answer]) -> None:
    """Raise where an answer is not 200: its time would mean nothing."""
    for answer in answers:
        if answer.status != 200:
            raise RuntimeError(f"{answer.status} {answer.body[:300]!r}")


def part(values: Iterable[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
