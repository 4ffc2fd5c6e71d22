"""More load than the workers can do: who gets an answer in time, and how soon the others are refused; see README.md.

python3 bench/overload.py [TIMES=2,10] [SECONDS=60] [OBEY=0.1] [WRITE=1]

TIMES is the load by the capacity; OBEY the part of those refused who come again when they are told to.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import report
import service
from load import Connection, part, require_programs, send_all
from paths import HERE
from processes import running

WORKERS, CALL, WAIT = 2, 0.05, 5.0  # seconds; the wait is the service's default
GOING = 200  # clients that close their connections


@dataclass(frozen=True)
class Asked:
    """One request under load: seconds from the begin until it was sent and from then until it was answered; how."""

    sent: float
    status: int
    seconds: float
    again: bool

    @property
    def good(self) -> bool:
        """Whether the client got its predictions in time."""
        return self.status == 200 and self.seconds <= WAIT


def main(words: Sequence[str]) -> None:
    """Measure and print the table."""
    options = report.options(words, TIMES="2,10", SECONDS="60", OBEY="0.1", WRITE="0")
    require_programs()
    seconds, obey = report.number(options, "SECONDS"), float(options["OBEY"])
    project = service.bake("overload", (HERE / "pipelines/sleeping.py").read_text())
    calls = project / ".denzel" / "calls"
    calls.parent.mkdir(exist_ok=True)
    server = service.server("overload", project, WORKER_CONCURRENCY=str(WORKERS), CALLS=str(calls))
    rows = []
    with running(server, _request(0.0)):
        capacity = _capacity(server.port)
        for times in report.numbers(options, "TIMES"):
            asked = asyncio.run(_load(server.port, times * capacity, seconds, obey))
            time.sleep(5)
            [lone] = send_all(server.port, "/predict", [_body(-1)], 1)
            rows.append([f"{times}x", f"{capacity:.1f}", *figures(asked, capacity, seconds), lone.status])
            print(*rows[-1], flush=True)
        left = asyncio.run(_clients_that_go(server.port))
    head = ["load", "capacity/s", "good, first half", "second half", "429 p50 ms", "p99 ms", "came again", "let in"]
    text = report.table([*head, "/ping p99 ms", "lone request after 5 s"], rows)
    text += f"\n\n{GOING} clients close their connections: {left} tasks wait a second later."
    report.publish("overload", f"{report.conditions(options)}\n\n{text}", options["WRITE"])


def figures(asked: Sequence[Asked], capacity: float, seconds: float) -> list[str]:
    """What came of the load: goodput by the capacity in both halves, how soon was refused, and who was let in again."""
    halves = []
    for begin in (0.0, seconds / 2):
        good = sum(one.good and begin <= one.sent + one.seconds < begin + seconds / 2 for one in asked)
        halves.append(f"{good / (seconds / 2) / capacity:.1%}")
    refused = [one.seconds * 1000 for one in asked if one.status == 429]
    again = [one for one in asked if one.again]
    let_in = f"{sum(one.status != 429 for one in again) / len(again):.1%}" if again else "-"
    pings = [one.seconds * 1000 for one in asked if one.status == 0]
    times = [f"{part(refused, share):.1f}" if refused else "-" for share in (0.5, 0.99)]
    return [*halves, *times, str(len(again)), let_in, f"{part(pings, 0.99):.1f}" if pings else "-"]


def _capacity(port: int) -> float:
    """Requests per second with as many clients as keep all processes busy."""
    count = int(10 / CALL * WORKERS)
    answers = send_all(port, "/predict", [_body(-2 - number) for number in range(count)], 16)
    return len(answers) / (max(one.came for one in answers) - min(one.sent for one in answers))


async def _load(port: int, rate: float, seconds: float, obey: float) -> list[Asked]:
    """Requests that come at this rate, whatever becomes of them; and /ping besides (status 0)."""
    asked: list[Asked] = []
    idle: list[Connection] = []
    begin = time.monotonic()

    async def ask(number: int, again: bool = False) -> None:
        sent = time.monotonic()
        connection = idle.pop() if idle else await Connection.open(port)
        try:
            status, text = await connection.post("/predict", _body(number))
        except (OSError, EOFError):  # the server had closed it meanwhile
            connection.close()
            connection = await Connection.open(port)
            status, text = await connection.post("/predict", _body(number))
        idle.append(connection)
        now = time.monotonic()
        asked.append(Asked(sent - begin, status, now - sent, again))
        told = re.search(rb"try again in (\d+) s", text)
        if told and not again and random.random() < obey and now - begin + int(told[1]) < seconds:
            await asyncio.sleep(int(told[1]))
            await ask(number, again=True)

    async def ping() -> None:
        while (sent := time.monotonic()) < begin + seconds:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            await reader.read()
            writer.close()
            asked.append(Asked(sent - begin, 0, time.monotonic() - sent, again=False))
            await asyncio.sleep(0.1)

    asking = [asyncio.create_task(ping())]
    moment = 0.0
    while (moment := moment + random.expovariate(rate)) < seconds:
        await asyncio.sleep(max(0.0, begin + moment - time.monotonic()))
        asking.append(asyncio.create_task(ask(len(asking))))
    await asyncio.gather(*asking)
    for connection in idle:
        connection.close()
    return asked


async def _clients_that_go(port: int) -> int:
    """How many tasks wait a second after many clients have gone."""
    writers = []
    for number in range(GOING):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        body = _body(number)
        writer.write(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        writers.append(writer)
    await asyncio.sleep(0.3)
    for writer in writers:
        writer.close()
    await asyncio.sleep(1.0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return int(json.loads(answer.partition(b"\r\n\r\n")[2])["queue"])


def _request(seconds: float) -> dict[str, dict[str, float]]:
    return {"data": {"a": seconds}}


def _body(number: int) -> bytes:
    """A request like no other, as those of different clients are."""
    return json.dumps({**_request(CALL), "number": number}).encode()


if __name__ == "__main__":
    main(sys.argv[1:])
