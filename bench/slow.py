"""Where speed must not hurt: slow pipelines, slow among fast requests, large requests; see README.md.

python3 bench/slow.py [PARTS=slow,mixed,large] [CLIENTS=2,4,8,16,32,64] [SECONDS=10] [WRITE=1]
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import report
import service
from load import REQUEST, Answer, part, repeated, require_programs, require_success, send_all, sending
from paths import HERE
from processes import Server, running

WORKERS = 2
DURATIONS = (0.05, 2.0)  # seconds
# Nobody waits in vain: the longest queue here takes longer than the default of 5 seconds.
SETTINGS = {"WORKER_CONCURRENCY": str(WORKERS), "SYNC_TIMEOUT": "600"}
FAST = 16  # clients of fast requests beside the slow ones
SMALL = 4  # clients of small requests beside the large ones


def main(words: Sequence[str]) -> None:
    """Measure and print the tables."""
    options = report.options(words, PARTS="slow,mixed,large", CLIENTS="2,4,8,16,32,64", SECONDS="10", WRITE="0")
    require_programs()
    seconds = report.number(options, "SECONDS")
    for name in options["PARTS"].split(","):
        if name == "slow":
            text = slow(report.numbers(options, "CLIENTS"), seconds)
        elif name == "mixed":
            text = mixed(seconds)
        elif name == "large":
            text = large(seconds)
        else:
            raise SystemExit(f"No such part: {name}")
        report.publish(name, f"{report.conditions(options)}\n\n{text}", options["WRITE"])


# ----------------------------------------------------------------------------------------- slow pipelines


def slow(clients: Sequence[int], seconds: float) -> str:
    """Throughput and latency of pipelines that take long, against what is possible with two processes."""
    head = ["a call takes", "clients", "requests", "requests/s", "of the ideal", "p50 s", "of the ideal"]
    rows = []
    for duration in DURATIONS:
        server, calls = _sleeping_server()
        with running(server, _sleep(0.0)):
            for number in clients:
                # a whole number of turns of all processes, the first one of all clients left out below
                count = WORKERS * math.ceil((number + max(20.0, seconds / duration * WORKERS)) / WORKERS)
                calls.write_text("")
                bodies = [json.dumps(_sleep(duration)).encode()] * count
                answers = send_all(server.port, "/predict", bodies, number)
                require_success(answers)
                rows.append([f"{duration:g} s", number, count, *_against_ideal(answers, number, duration, calls)])
                print(*rows[-1], flush=True)
    return report.table([*head, "longest idle ms", "idle %"], rows)


def _against_ideal(answers: Sequence[Answer], clients: int, duration: float, calls: Path) -> list[str]:
    took = max(answer.came for answer in answers) - min(answer.sent for answer in answers)
    ideal = len(answers) / WORKERS * duration
    # The first request of each client finds a shorter queue than the others.
    p50 = part((answer.seconds for answer in answers[clients:]), 0.5)
    idle = idle_while_waiting(answers, read_calls(calls))
    return [
        f"{len(answers) / took:.2f}",
        f"{ideal / took:.1%}",
        f"{p50:.3f}",
        f"{p50 / (max(1.0, clients / WORKERS) * duration):.1%}",
        f"{max(idle, default=0) * 1000:.1f}",
        f"{sum(idle) / took / WORKERS:.1%}",
    ]


@dataclass(frozen=True)
class Call:
    """One call of the pipeline, in seconds of the same clock as the answers."""

    process: int
    began: float
    ended: float


def read_calls(path: Path) -> list[Call]:
    """What the pipeline noted."""
    words = (line.split() for line in path.read_text().splitlines())
    return [Call(int(process), float(began), float(ended)) for process, began, ended, _ in words]


def idle_while_waiting(answers: Sequence[Answer], calls: Sequence[Call]) -> list[float]:
    """For how long each process did nothing, each time, although a request had been sent that nobody worked on."""
    sent = sorted(answer.sent for answer in answers)
    began = sorted(call.began for call in calls)
    idle = []
    for process in {call.process for call in calls}:
        own = sorted((call for call in calls if call.process == process), key=lambda call: call.began)
        free_since = [sent[0], *(call.ended for call in own)]
        for free, call in zip(free_since, own, strict=False):  # after the last call nothing matters
            waiting_since = _first_waiting(sent, began, free)
            if waiting_since < call.began:
                idle.append(call.began - waiting_since)
    return idle


def _first_waiting(sent: Sequence[float], began: Sequence[float], moment: float) -> float:
    """From this moment on, when a request waits first; requests are taken in their order."""
    taken = sum(1 for time in began if time <= moment)
    return max(moment, sent[taken]) if taken < len(sent) else math.inf


# ------------------------------------------------------------------------------------- slow and fast mixed


def mixed(seconds: float) -> str:
    """What clients of fast requests notice of others whose requests are slow."""
    head = ["pipeline", "fast clients (1 ms)", "slow clients (1 s)", "fast/s", "p50 ms", "p99 ms", "slow/s", "p50 ms"]
    rows = []
    for batchable in (False, True):
        server, _ = _sleeping_server(batchable)
        with running(server, _sleep(0.0)):
            for slow_clients in (0, 1, 2, 4):
                fast, slow_ = _together(server.port, seconds, (_sleep(0.001), FAST), (_sleep(1.0), slow_clients))
                rows.append(
                    [
                        "BATCHABLE" if batchable else "not BATCHABLE",
                        FAST,
                        slow_clients,
                        f"{len(fast) / seconds:.0f}",
                        _milliseconds(fast, 0.5),
                        _milliseconds(fast, 0.99),
                        f"{len(slow_) / seconds:.2f}",
                        _milliseconds(slow_, 0.5),
                    ]
                )
                print(*rows[-1], flush=True)
    return report.table(head, rows)


# ----------------------------------------------------------------------------------------- large requests


def large(seconds: float) -> str:
    """Requests of 1 MB and of 10,000 ids, and what small requests notice of them."""
    head = ["request", "bytes", "clients", "requests/s", "p50 ms", "p99 ms", "small beside/s", "p50 ms", "p99 ms"]
    text = service.server("large", service.bake("length", (HERE / "pipelines/length.py").read_text()), **SETTINGS)
    iris = service.server("many ids", service.bake("iris_large"), **SETTINGS)
    flower = REQUEST["data"]["a123"]
    cases = [
        ("1 MB of text", text, {"data": {"a": "x" * 1_000_000}}, {"data": {"a": "x"}}),
        ("10,000 ids", iris, {"data": {f"flower-{number}": flower for number in range(10_000)}}, REQUEST),
    ]
    rows = []
    for title, server, request, small in cases:
        with running(server, small):
            for clients in (0, 1, 4):
                answers, beside = _together(server.port, seconds, (request, clients), (small, SMALL))
                rows.append(
                    [
                        title,
                        len(json.dumps(request)),
                        clients,
                        f"{len(answers) / seconds:.1f}" if answers else "-",
                        _milliseconds(answers, 0.5),
                        _milliseconds(answers, 0.99),
                        f"{len(beside) / seconds:.0f}",
                        _milliseconds(beside, 0.5),
                        _milliseconds(beside, 0.99),
                    ]
                )
                print(*rows[-1], flush=True)
    return report.table(head, rows)


# ------------------------------------------------------------------------------------------------- details


def _together(
    port: int, seconds: float, *loads: tuple[dict[str, Any], int], path: str = "/predict"
) -> list[list[Answer]]:
    """The answers of several kinds of clients (the request, how many) that ask at the same time for this long."""

    async def all_of_them() -> list[list[Answer]]:
        return await asyncio.gather(
            *(sending(port, path, repeated(request, seconds), clients) for request, clients in loads)
        )

    found = asyncio.run(all_of_them())
    for answers in found:
        require_success(answers)
    return found


def _sleep(seconds: float) -> dict[str, Any]:
    return {"data": {"a": seconds}}


def _sleeping_server(batchable: bool = False) -> tuple[Server, Path]:
    """The service with the pipeline that sleeps, and the file of its calls."""
    text = (HERE / "pipelines/sleeping.py").read_text()
    project = service.bake("sleeping", text.replace("BATCHABLE = False", f"BATCHABLE = {batchable}"))
    calls = project / ".denzel" / "calls"
    calls.parent.mkdir(exist_ok=True)
    return service.server("sleeping", project, CALLS=str(calls), **SETTINGS), calls


def _milliseconds(answers: Sequence[Answer], share: float) -> str:
    return f"{part((answer.seconds for answer in answers), share) * 1000:.1f}" if answers else "-"


if __name__ == "__main__":
    main(sys.argv[1:])
