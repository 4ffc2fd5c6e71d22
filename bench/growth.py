"""How cost grows: with processes, with a long queue, over many requests; see README.md.

python3 bench/growth.py [PARTS=scaling,queue,memory] [SECONDS=8] [TASKS=100000] [REQUESTS=200000] [WRITE=1]
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence

import report
import service
from load import REQUEST, require_programs, require_success, send_all, wrk
from processes import Running, Server, post, running

CONNECTIONS = 64
# Records of answered synchronous requests live this long: only then does Redis' memory stand still.
EXPIRES = 60.0


def main(words: Sequence[str]) -> None:
    """Measure and print the tables."""
    options = report.options(
        words, PARTS="scaling,queue,memory", SECONDS="8", TASKS="100000", REQUESTS="200000", WRITE="0"
    )
    require_programs()
    for name in options["PARTS"].split(","):
        if name == "scaling":
            text = scaling(report.number(options, "SECONDS"))
        elif name == "queue":
            text = queue(int(report.number(options, "TASKS")))
        elif name == "memory":
            text = memory(int(report.number(options, "REQUESTS")))
        else:
            raise SystemExit(f"No such part: {name}")
        report.publish(name, f"{report.conditions(options)}\n\n{text}", options["WRITE"])


def scaling(seconds: float) -> str:
    """Throughput and CPU for 1, 2 and 4 prediction processes and 1 and 2 API processes."""
    head = ["pipeline", "prediction processes", "API processes", "requests/s", "p50 ms", "p99 ms", "CPU ms a request"]
    rows = []
    for batchable in (True, False):
        project = service.bake("iris_scaling", service.iris_pipeline(batchable))
        for workers in (1, 2, 4):
            for apis in (1, 2):
                server = service.server(
                    f"{workers} x {apis}", project, WORKER_CONCURRENCY=str(workers), API_WORKERS=str(apis)
                )
                with running(server, REQUEST) as service_:
                    wrk(server.url(), REQUEST, CONNECTIONS, min(2.0, seconds))
                    before = service_.cpu()
                    found = wrk(server.url(), REQUEST, CONNECTIONS, seconds)
                    after = service_.cpu()
                parts = {name: (after[name] - before[name]) * 1000 / max(1, found.requests) for name in before}
                split = ", ".join(f"{name} {value:.3f}" for name, value in parts.items())
                title = "BATCHABLE" if batchable else "not BATCHABLE"
                figures = [f"{found.rate:.0f}", f"{found.p50:.1f}", f"{found.p99:.1f}"]
                rows.append([title, workers, apis, *figures, f"{sum(parts.values()):.3f} ({split})"])
                print(*rows[-1], flush=True)
    return report.table(head, rows)


def queue(tasks: int) -> str:
    """What it costs that many tasks wait: accepting more, asking for status and readiness, working them off."""
    server = service.server("queue", service.bake("iris_queue"), MAX_QUEUE=str(tasks + 1000))
    body, step = json.dumps(REQUEST).encode(), max(1, tasks // 10)
    rows = []
    with running(server, REQUEST) as service_:
        with service_.stopped("worker"):
            waiting, last = 0, b""
            while waiting < tasks:
                count = min(step, tasks - waiting)
                cpu, began = service_.cpu(), time.perf_counter()
                answers = send_all(server.port, "/predict", [body] * count, 16, Prefer="respond-async")
                took, after = time.perf_counter() - began, service_.cpu()
                require_success(answers)
                waiting, last = waiting + count, answers[-1].body
                each = sum(after.values()) - sum(cpu.values())
                task_id = json.loads(last)["data"]["task_id"]
                rows.append(
                    [
                        waiting,
                        f"{count / took:.0f}",
                        f"{each * 1000 / count:.3f}",
                        f"{_milliseconds(server, f'/status/{task_id}'):.1f}",
                        f"{_milliseconds(server, '/ready'):.1f}",
                        redis_mebibytes(server),
                    ]
                )
                print(*rows[-1], flush=True)
        accepted = report.table(
            ["tasks waiting", "accepted/s", "CPU ms each", "/status ms", "/ready ms", "Redis MiB"], rows
        )
        return f"{accepted}\n\n{_work_off(server, service_, tasks)}"


def _work_off(server: Server, service_: Running, tasks: int) -> str:
    """How fast a long queue is worked off, at its beginning and at its end."""
    rows, step = [], max(1, tasks // 5)
    left = tasks
    cpu, began = service_.cpu(), time.perf_counter()
    while left:
        goal = max(0, left - step)
        while (now := int(service.redis_cli(server, "LLEN", service.key(server, "waiting")))) > goal:
            time.sleep(0.02)
        took, after = time.perf_counter() - began, service_.cpu()
        each = (sum(after.values()) - sum(cpu.values())) * 1000 / max(1, left - now)
        rows.append([f"{left} to {now}", f"{(left - now) / took:.0f}", f"{each:.3f}", redis_mebibytes(server)])
        print(*rows[-1], flush=True)
        left, cpu, began = now, after, time.perf_counter()
    status, answer = post(server.port, "/predict", json.dumps(REQUEST).encode())
    assert status == 200, answer
    return report.table(["tasks waiting", "worked off/s", "CPU ms each", "Redis MiB"], rows)


def memory(requests: int) -> str:
    """The memory of every process over many requests, after the records' first expiry."""
    server = service.server("memory", service.bake("iris_memory"))
    rows: list[list[str]] = []
    with running(server, REQUEST) as service_:
        wrk(server.url(), REQUEST, CONNECTIONS, EXPIRES + 15)
        done = 0
        while True:
            memory = service_.memory()
            sizes = [f"{memory[name]:.1f}" for name in memory]
            rows.append([str(done), *sizes, redis_mebibytes(server), service.redis_cli(server, "DBSIZE")])
            print(*rows[-1], flush=True)
            if done >= requests:
                return report.table(["requests", *(f"{name} MiB" for name in memory), "Redis' data MiB", "keys"], rows)
            goal = done + requests / 8
            while done < goal:
                found = wrk(server.url(), REQUEST, CONNECTIONS, 2)
                assert not found.errors, found
                done += found.requests


def _milliseconds(server: Server, path: str) -> float:
    began = time.perf_counter()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=30) as response:
            response.read()
    except urllib.error.HTTPError:
        pass  # /ready says 503 while the workers are stopped
    return (time.perf_counter() - began) * 1000


def redis_mebibytes(server: Server) -> str:
    """What Redis itself counts as in use, in MiB."""
    lines = service.redis_cli(server, "INFO", "memory").splitlines()
    return f"{int(next(line for line in lines if line.startswith('used_memory:')).partition(':')[2]) / 2**20:.1f}"


if __name__ == "__main__":
    main(sys.argv[1:])
