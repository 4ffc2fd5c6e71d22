"""The comparison with other model servers on this machine; see README.md.

python3 bench/compare.py [SECONDS=8] [ROUNDS=2] [CONNECTIONS=1,16,64] [SERVERS=ours,fastapi2,...] [WRITE=1]
"""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import report
import service
from load import REQUEST, require_programs, send_all, wrk
from paths import CACHE, HERE, PEERS
from processes import Server, free_port, post, running
from servers import SERVERS

# Servers with a queue, whose asynchronous mode delivers callbacks.
ASYNCHRONOUS = ("ours", "denzel")
# Distinct requests whose answers are checked before a server's speed counts, on 64 connections.
CHECKED = {"ours": 4000, "apart": 4000, "inline": 4000}
CHECKED_OF_PEERS = 400


def main(words: Sequence[str]) -> None:
    """Measure and print the tables."""
    options = report.options(
        words, SECONDS="8", ROUNDS="2", CONNECTIONS="1,16,64", SERVERS=",".join(SERVERS), WRITE="0"
    )
    seconds, rounds = report.number(options, "SECONDS"), int(report.number(options, "ROUNDS"))
    connections = report.numbers(options, "CONNECTIONS")
    names = options["SERVERS"].split(",")
    if unknown := set(names) - SERVERS.keys():
        raise SystemExit(f"No such server: {', '.join(sorted(unknown))}. There are: {', '.join(SERVERS)}")
    require_programs()
    expected = expected_answers(max(CHECKED.values()))
    results: list[dict[str, Any]] = []
    with receiving() as sink:
        made = {name: SERVERS[name](f"127.0.0.1:{sink}") for name in names}
        for number in range(rounds):
            for name, server in made.items():
                checked = expected[: CHECKED.get(name, CHECKED_OF_PEERS)] if number == 0 else []
                results += measure(name, server, checked, connections, seconds)
            for name in filter(made.__contains__, ASYNCHRONOUS):
                results.append(measure_asynchronous(name, made[name], sink, seconds / 4))
    save(results)
    text = report.comparison(results, {name: server.name for name, server in made.items()}, options)
    report.publish("comparison", text, options["WRITE"])


def measure(
    name: str, server: Server, expected: Sequence[list[Any]], connections: Sequence[int], seconds: float
) -> Iterator[dict[str, Any]]:
    """Check the answers of a server, then its speed at each number of connections."""
    with running(server, REQUEST) as service_:
        wrong = wrong_answers(server, expected)
        if expected:
            show(server, f"{len(expected)} distinct requests on 64 connections: {wrong} wrong answers")
        body = server.encode(REQUEST)
        wrk(server.url(), body, 16, min(2.0, seconds))  # warm
        for number in connections:
            before = service_.cpu()
            found = wrk(server.url(), body, number, seconds)
            after = service_.cpu()
            cpu = {part: (after[part] - before[part]) * 1000 / max(1, found.requests) for part in before}
            show(
                server,
                f"{number:>3} connections: {found.rate:7.0f}/s  p50 {found.p50:7.2f} ms  p99 {found.p99:7.1f} ms"
                f"  {sum(cpu.values()):.2f} ms CPU  {found.errors} errors",
            )
            yield {
                "server": name,
                "connections": number,
                "rate": found.rate,
                "p50": found.p50,
                "p99": found.p99,
                "errors": found.errors,
                "wrong": wrong,
                "checked": len(expected),
                "cpu": cpu,
                "memory": service_.memory(),
            }


def measure_asynchronous(name: str, server: Server, sink: int, seconds: float) -> dict[str, Any]:
    """How fast tasks are accepted while the worker is stopped, and how fast it then delivers their answers."""
    request = {**REQUEST, "callback_uri": f"http://127.0.0.1:{sink}/"}
    headers = {"Prefer": "respond-async"}
    with running(server, REQUEST) as service_:
        if name == "denzel":
            _denzel_answers_asynchronously(server)
        start = delivered(sink)
        wrk(server.url(), request, 16, 1, **headers)
        wait_for_silence(sink)
        assert delivered(sink) > start, f"{server.name} delivers no callbacks"
        start = delivered(sink)
        with service_.stopped("worker"):
            accepted = wrk(server.url(), request, 16, seconds, **headers)
        began = time.perf_counter()
        while delivered(sink) - start < accepted.requests and time.perf_counter() - began < 120:
            time.sleep(0.01)
        took = time.perf_counter() - began
        wait_for_silence(sink)
        # wrk does not count the last request of each connection, which it does not wait for
        arrived = delivered(sink) - start
        lost = max(0, accepted.requests - arrived)
        drain = min(arrived, accepted.requests) / took
        show(
            server,
            f"asynchronous: {accepted.rate:.0f}/s accepted, {drain:.0f}/s delivered, {lost} lost, "
            f"{accepted.errors} errors",
        )
    return {
        "server": name,
        "accepted": accepted.rate,
        "drained": drain,
        "lost": lost,
        "tasks": accepted.requests,
        "errors": accepted.errors,
    }


# -------------------------------------------------------------------------------------------------- details


def expected_answers(count: int) -> list[list[Any]]:
    """Distinct requests with their answers, computed without any server."""
    project = service.bake("iris_expected")
    python = service.environment().bin / "python"
    done = subprocess.run(
        [python, PEERS / "expected.py", str(count)],
        env={"PIPELINE": str(project), "PYTHONDONTWRITEBYTECODE": "1"},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def wrong_answers(server: Server, expected: Sequence[list[Any]]) -> int:
    """How many of the requests get another answer than the pipeline gives by itself, sent on 64 connections."""
    bodies = [json.dumps(server.encode(request)).encode() for request, _ in expected]
    answers = send_all(server.port, server.path, bodies, 64)
    return sum(
        answer.status != 200 or server.decode(json.loads(answer.body), request) != predictions
        for answer, (request, predictions) in zip(answers, expected, strict=True)
    )


@contextlib.contextmanager
def receiving() -> Iterator[int]:
    """A receiver of callbacks that counts them; its port."""
    port = free_port()
    process = subprocess.Popen([sys.executable, HERE / "sink.py", str(port)])
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                delivered(port)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()


def delivered(port: int) -> int:
    """How many callbacks have come so far."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/")
    count = int(connection.getresponse().read())
    connection.close()
    return count


def wait_for_silence(port: int) -> None:
    """Wait until no callback has come for a second."""
    count = -1
    while count != (now := delivered(port)):
        count = now
        time.sleep(1)


def _denzel_answers_asynchronously(server: Server) -> None:
    """What `denzel response --async` does."""
    redis_port = server.environment["CELERY_BROKER"].rpartition(":")[2].split("/")[0]
    command = ["redis-cli", "-p", redis_port, "set", "synchronous_timeout", "0.0"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    request = {**REQUEST, "callback_uri": "http://127.0.0.1:9/"}
    assert b"task_id" in post(server.port, server.path, json.dumps(request).encode())[1]


def show(server: Server, text: str) -> None:
    """Print a line of progress."""
    print(f"{server.name:<32} {text}", flush=True)


def save(results: list[dict[str, Any]]) -> Path:
    """Keep the raw figures."""
    folder = CACHE / "results"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / time.strftime("comparison-%Y%m%d-%H%M%S.json")
    path.write_text(json.dumps(results, indent=1))
    print(f"\nRaw figures: {path}")
    return path


if __name__ == "__main__":
    main(sys.argv[1:])
