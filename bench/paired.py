"""Measurement in paired turns: all servers are up, and each is frozen while it is not its turn.

A machine's speed drifts, so only what was measured within the same seconds compares: in each round every server has one
turn of a few seconds, in an order that alternates, and figures of one round form a pair. In each turn wrk sends one
request over and over; then, before the server is frozen again, requests of which no two are the same ask for answers
that are known.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from load import sending, wrk_file
from processes import Running, Server, post, running

SETTLE = 0.15  # seconds that a server gets to wake up
WARM = 1.0  # seconds of load before the rounds
UNTIL_CHECKED = 60.0  # seconds; what has not answered by then counts as wrong
AT_ONCE = 64  # connections that check, at most
Expected = Sequence[tuple[dict[str, Any], Any]]


@dataclass(frozen=True)
class Turn:
    """What was measured of a server in one round; p50 and p99 in milliseconds, `cpu` in ms a request by process."""

    workload: str
    connections: int
    server: str
    round: int
    rate: float
    p50: float
    p99: float
    requests: int
    errors: int
    checked: int
    wrong: int
    cpu: dict[str, float]


class Contestant:
    """A server that runs, is frozen unless asked to do something, and whose right answers are known."""

    def __init__(self, name: str, service: Running, expected: Expected, body: Path) -> None:
        self.name = name
        self.service, self._body = service, body
        self._server = service.server
        request, _ = expected[0]
        body.write_text(json.dumps(self._server.encode(request)))
        self._expected = [
            (request, json.dumps(self._server.encode(request)).encode(), answer) for request, answer in expected[1:]
        ]
        self._asked = 0
        self.service.wait_until_idle()
        self.service.freeze()

    @contextlib.contextmanager
    def awake(self) -> Iterator[Running]:
        """Let it work for as long as the block lasts, which begins when it has answered a request."""
        self.service.go_on()
        time.sleep(SETTLE)
        try:
            wake(self._server, self._body.read_bytes())
            yield self.service
        finally:
            self.service.freeze()

    def warm(self, connections: int, seconds: float) -> None:
        """A turn that does not count."""
        with self.awake():
            wrk_file(self._server.url(), self._body, connections, seconds)

    def check(self) -> tuple[int, int]:
        """Ask for every answer that is known: how many requests that were, and how many of them went wrong."""
        with self.awake():
            return self._check(len(self._expected))

    def turn(self, workload: str, connections: int, number: int, seconds: float) -> Turn:
        """Measure it once; the check after it takes a request a connection, of many connections at most AT_ONCE."""
        before = self.service.cpu()
        with self.awake() as service:
            found = wrk_file(self._server.url(), self._body, connections, seconds)
            after = service.cpu()
            checked, wrong = self._check(min(max(connections, 4), AT_ONCE, len(self._expected)))
        cpu = {part: (after[part] - before[part]) * 1000 / max(1, found.requests) for part in before}
        return Turn(
            workload,
            connections,
            self.name,
            number,
            found.rate,
            found.p50,
            found.p99,
            found.requests,
            found.errors,
            checked,
            wrong,
            cpu,
        )

    def _check(self, count: int) -> tuple[int, int]:
        chosen = [self._expected[(self._asked + index) % len(self._expected)] for index in range(count)]
        self._asked += count
        return count, wrong_answers(self._server, chosen)


def wake(server: Server, body: bytes, **headers: str) -> None:
    """Wait until a server that was frozen answers a request: what has to run after that is not its work."""
    with contextlib.suppress(OSError):  # who cannot be reached is noticed by wrk
        post(server.port, server.path, body, **headers)


def wrong_answers(server: Server, chosen: Sequence[tuple[dict[str, Any], bytes, Any]]) -> int:
    """How many of these (request, body, right answer) get another answer or none; a quarter is sent at a time."""
    connections = max(1, min(len(chosen) // 4, AT_ONCE))
    sent = sending(server.port, server.path, [body for _, body, _ in chosen], connections)
    try:
        answers = asyncio.run(asyncio.wait_for(sent, UNTIL_CHECKED))
    except (OSError, EOFError, asyncio.TimeoutError):
        return len(chosen)
    return sum(
        answer.status != 200 or _decoded(server, answer.body, request) != right
        for answer, (request, _, right) in zip(answers, chosen, strict=True)
    )


def _decoded(server: Server, body: bytes, request: dict[str, Any]) -> Any:
    try:
        return server.decode(json.loads(body), request)
    except (ValueError, LookupError, TypeError) as error:
        return f"not an answer: {error}"


@contextlib.contextmanager
def contestant(name: str, server: Server, expected: Expected, folder: Path) -> Iterator[Contestant]:
    """Start a server; it is up and frozen when the block begins, and ended after it."""
    folder.mkdir(parents=True, exist_ok=True)
    with running(server, expected[0][0]) as service:
        yield Contestant(name, service, expected, folder / f"{name}.json")


def rounds(
    workload: str,
    contestants: list[Contestant],
    connections: int,
    count: int,
    seconds: float,
    gone: Callable[[str, RuntimeError], None],
) -> Iterator[Turn]:
    """Let each warm up, then measure each once a round, forwards and backwards in turn.

    Who cannot be reached any longer is told to `gone`, and removed from the contestants unless that raises.
    """
    for number in range(-1, count):
        for one in list(contestants if number % 2 else reversed(contestants)):
            try:
                if number < 0:
                    one.warm(connections, WARM)
                else:
                    yield one.turn(workload, connections, number, seconds)
            except RuntimeError as error:
                gone(one.name, error)
                contestants.remove(one)


def as_rows(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """For a file of raw figures."""
    return [asdict(turn) for turn in turns]
