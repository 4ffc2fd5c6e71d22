"""Large requests through the queue: their speed, the memory of each process, the size of Redis' file; see README.md.

python3 bench/large.py [REQUESTS=2000] [BYTES=1000000] [CONNECTIONS=16] [WRITE=1]
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import report
import service
from growth import redis_mebibytes
from load import Answer, require_programs, require_success, send_all
from paths import HERE
from processes import Running, Server, running

PARTS = 5
WAYS = {"synchronous": "wait=60", "asynchronous": "respond-async"}


def main(words: Sequence[str]) -> None:
    """Measure and print the table."""
    options = report.options(words, REQUESTS="2000", BYTES="1000000", CONNECTIONS="16", WRITE="0")
    require_programs()
    text = large(
        int(report.number(options, "REQUESTS")),
        int(report.number(options, "BYTES")),
        int(report.number(options, "CONNECTIONS")),
    )
    report.publish("megabytes", f"{report.conditions(options)}\n\n{text}", options["WRITE"])


def large(requests: int, size: int, connections: int) -> str:
    """In parts, synchronous and asynchronous ones in turns; raises where an answer is wrong."""
    project = service.bake("large", (HERE / "pipelines/length.py").read_text(encoding="utf-8"))
    server = service.server("large", project, DIRECT="off", RESULT_EXPIRES="60")
    body = {"data": {"a": "x" * size}}
    rows: list[list[str]] = []
    with running(server, body) as service_, watching(project / ".denzel/bench-redis") as file:
        each = max(1, requests // (PARTS * len(WAYS)))
        for part in range(PARTS):
            for name, prefer in WAYS.items():
                cpu, began = service_.cpu(), time.perf_counter()
                bodies = [json.dumps(body).encode()] * each
                answers = send_all(server.port, "/predict", bodies, connections, Prefer=prefer)
                require_right(server, answers, size)
                took = time.perf_counter() - began
                rows.append(figures(server, service_, (2 * part + 1 + (name != "synchronous")) * each, name))
                rows[-1] += [f"{each / took:.0f}", cpu_each(cpu, service_.cpu(), each), f"{file.take_largest():.0f}"]
                print(*rows[-1], flush=True)
    names = [f"{name} MiB" for name in server.processes]
    head = ["requests", "these", *names, "Redis' data MiB", "a second", "CPU ms each", "Redis' file MiB, at most"]
    return report.table(head, rows)


def require_right(server: Server, answers: Sequence[Answer], size: int) -> None:
    """Wait for the answers of those that were only accepted, and compare all of them."""
    require_success(answers)
    for answer in answers:
        found = json.loads(answer.body)
        task_id = found["data"]["task_id"] if "status" in found else None
        while task_id:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/status/{task_id}", timeout=30) as response:
                status = json.load(response)
            if status["status"] in ("PENDING", "STARTED"):
                time.sleep(0.01)
                continue
            found, task_id = status["result"], None
        if found != {"a": size}:
            raise RuntimeError(f"a wrong answer: {found}")


def figures(server: Server, service_: Running, done: int, name: str) -> list[str]:
    """How much memory there is in use."""
    return [str(done), name, *(f"{size:.0f}" for size in service_.memory().values()), redis_mebibytes(server)]


def cpu_each(before: dict[str, float], after: dict[str, float], count: int) -> str:
    """The CPU of a request, with that of each service."""
    each = {name: (after[name] - before[name]) * 1000 / count for name in before}
    return f"{sum(each.values()):.1f} ({', '.join(f'{name} {value:.1f}' for name, value in each.items())})"


class FileSize(threading.Thread):
    """Looks at the size of Redis' file all the time: it grows, and is written anew."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self._folder = folder
        self._largest = 0
        self._ended = threading.Event()

    def run(self) -> None:
        """Look until told to end."""
        while not self._ended.wait(0.02):
            self._largest = max(self._largest, size_of(self._folder))

    def take_largest(self) -> float:
        """The largest size since the last call, in MiB."""
        largest, self._largest = self._largest, 0
        return largest / 2**20

    def end(self) -> None:
        """Look no more."""
        self._ended.set()


@contextlib.contextmanager
def watching(folder: Path) -> Iterator[FileSize]:
    """Look at the size of a folder for as long as the block lasts."""
    watch = FileSize(folder)
    watch.start()
    try:
        yield watch
    finally:
        watch.end()


def size_of(folder: Path) -> int:
    """The bytes of all files in a folder, those that vanish meanwhile left out."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return total


if __name__ == "__main__":
    main(sys.argv[1:])
