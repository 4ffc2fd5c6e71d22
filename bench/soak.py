"""Moderate load for a long time: the memory of every process at start and end, and what went wrong; see README.md.

python3 bench/soak.py [MINUTES=30] [RATE=200] [WRITE=1]
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence

import report
import service
from growth import EXPIRES
from load import REQUEST, Connection, require_programs
from processes import Server, post, running
from receiver import delivered, receiving, wait_for_silence

CONNECTIONS = 16
# After this every kind of record has expired for the first time, and the caches are filled (seconds).
WARM = EXPIRES + 15


def main(words: Sequence[str]) -> None:
    """Measure and print the table."""
    options = report.options(words, MINUTES="30", RATE="200", WRITE="0")
    minutes, rate = report.number(options, "MINUTES"), report.number(options, "RATE")
    require_programs()
    with receiving() as sink:
        text = soak(minutes, rate, sink)
    report.publish("soak", f"{report.conditions(options)}\n\n{text}", options["WRITE"])


def soak(minutes: float, rate: float, sink: int) -> str:
    """Ask so many times a second, every second request asynchronously; tables of memory and of what came."""
    settings = {"CALLBACK_ALLOW": "127.0.0.1", "RESULT_EXPIRES": f"{EXPIRES:.0f}"}
    server = service.server("soak", service.bake("iris_soak"), **settings)
    with running(server, REQUEST) as service_:
        load = Load(server, rate, sink)
        load.run(WARM)
        load.run_out()
        load.counts.clear()
        before, samples = delivered(sink), [service_.memory_of_each()]
        for _ in range(2):
            load.run(minutes * 60 / 2)
            samples.append(service_.memory_of_each())
            print(f"{sum(load.counts.values())} requests, {sum(samples[-1].values()):.1f} MiB", flush=True)
        load.run_out()
        arrived = delivered(sink) - before
    counts, accepted = load.counts, load.counts["accepted"]
    head = ["requests", "predictions", "accepted", "called back", "lost", "wrong answers", "errors"]
    lost = max(0, accepted - arrived)
    row = [counts.total(), counts["predictions"], accepted, arrived, lost, counts["wrong"], counts["errors"]]
    names = list(dict.fromkeys(name for sample in samples for name in sample))
    rows = [[name, *(f"{sample.get(name, 0):.1f}" for sample in samples)] for name in names]
    rows.append(["all", *(f"{sum(sample.values()):.1f}" for sample in samples)])
    memory = report.table(["MiB", "start", f"after {minutes / 2:g} minutes", f"after {minutes:g}"], rows)
    return f"{memory}\n\n{report.table(head, [row])}"


class Load:
    """Clients that together ask so many times a second, however long the answers take.

    Attributes:
        counts: the requests that got their predictions, or were accepted; other predictions, and anything else.
    """

    def __init__(self, server: Server, rate: float, sink: int) -> None:
        self._port, self._path, self._sink = server.port, server.path, sink
        self._interval = CONNECTIONS / rate
        self._bodies = {
            "wait=60": json.dumps(REQUEST).encode(),
            "respond-async": json.dumps({**REQUEST, "callback_uri": f"http://127.0.0.1:{sink}/"}).encode(),
        }
        status, text = post(server.port, server.path, self._bodies["wait=60"])
        assert status == 200, text
        self._right = text
        self.counts: Counter[str] = Counter()

    def run(self, seconds: float) -> None:
        """Ask for so many seconds."""
        asyncio.run(self._ask_all(time.monotonic() + seconds))

    def run_out(self) -> None:
        """Wait until the callbacks under way have come."""
        wait_for_silence(self._sink)

    async def _ask_all(self, until: float) -> None:
        await asyncio.gather(*(self._client(number, until) for number in range(CONNECTIONS)))

    async def _client(self, number: int, until: float) -> None:
        prefer = list(self._bodies)[number % len(self._bodies)]
        connection = await Connection.open(self._port)
        due = time.monotonic() + self._interval * number / CONNECTIONS
        while due < until:
            await asyncio.sleep(due - time.monotonic())
            due += self._interval
            self.counts[await self._ask(connection, prefer)] += 1
        connection.close()

    async def _ask(self, connection: Connection, prefer: str) -> str:
        """What came of a request."""
        try:
            status, text = await connection.post(self._path, self._bodies[prefer], Prefer=prefer)
        except (OSError, asyncio.IncompleteReadError):
            await connection.reopen()
            return "errors"
        if status != 200:
            return "errors"
        if prefer == "respond-async":
            return "accepted"
        return "predictions" if text == self._right else "wrong"


if __name__ == "__main__":
    main(sys.argv[1:])
