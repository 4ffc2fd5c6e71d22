"""What predictions notice of callbacks that do not get through: receivers that hang, retries that wait; see README.md.

python3 bench/callbacks.py [PARTS=hanging,retries] [SECONDS=5] [ROUNDS=6] [RECEIVERS=100] [RETRIES=100000] [WRITE=1]
"""

from __future__ import annotations

import json
import select
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import report
import service
from load import REQUEST, Measured, require_programs, require_success, send_all, wrk
from processes import Running, Server, running

CONNECTIONS = 64
# Callbacks for each receiver: more than it gets connections, so that others wait behind them.
EACH = 50
# No attempt ends while it is measured.
SETTINGS = {"CALLBACK_ALLOW": "127.0.0.1", "CALLBACK_TIMEOUT": "600"}
# Retries that are due in an hour, as the sender of callbacks leaves them.
_FILL = """
for i = ARGV[1], ARGV[1] + ARGV[2] - 1 do
    redis.call('HSET', ARGV[3] .. 'task:' .. i, 'status', 'SUCCESS', 'mode', 'async',
               'result', '{"a123":"Iris-setosa"}', 'callback_uri', 'http://127.0.0.1/inbox',
               'callback', '{"state":"pending","attempts":9}')
    redis.call('ZADD', ARGV[3] .. 'callbacks', redis.call('TIME')[1] + 3600 + i / 1000, i)
end
"""


def main(words: Sequence[str]) -> None:
    """Measure and print the tables."""
    options = report.options(
        words, PARTS="hanging,retries", SECONDS="5", ROUNDS="6", RECEIVERS="100", RETRIES="100000", WRITE="0"
    )
    require_programs()
    seconds, rounds = report.number(options, "SECONDS"), int(report.number(options, "ROUNDS"))
    for name in options["PARTS"].split(","):
        if name == "hanging":
            text = hanging(seconds, rounds, int(report.number(options, "RECEIVERS")))
        elif name == "retries":
            text = retries(seconds, rounds, int(report.number(options, "RETRIES")))
        else:
            raise SystemExit(f"No such part: {name}")
        report.publish(name, f"{report.conditions(options)}\n\n{text}", options["WRITE"])


def hanging(seconds: float, rounds: int, count: int) -> str:
    """Predictions while callbacks hang at so many receivers, against none."""
    with _silent_receivers(count) as receivers:

        def burden(server: Server) -> None:
            ports = [receiver.getsockname()[1] for receiver in receivers] * EACH
            bodies = [json.dumps({**REQUEST, "callback_uri": f"http://127.0.0.1:{port}/"}).encode() for port in ports]
            require_success(send_all(server.port, "/predict", bodies, 16, Prefer="respond-async"))
            _wait_until(
                lambda: int(service.redis_cli(server, "ZCARD", service.key(server, "callbacks"))) == len(bodies)
            )
            _wait_until(lambda: len(select.select(receivers, [], [], 0)[0]) == count)

        return _side_by_side(["no receiver hangs", f"{count} receivers hang"], burden, seconds, rounds)


def retries(seconds: float, rounds: int, count: int) -> str:
    """Predictions while so many callbacks wait for another attempt, against none."""

    def burden(server: Server) -> None:
        for first in range(1, count + 1, 1000):
            many = min(1000, count + 1 - first)
            service.redis_cli(server, "EVAL", _FILL, "0", str(first), str(many), service.key(server, ""))

    return _side_by_side(["no retry waits", f"{count} retries wait"], burden, seconds, rounds)


def _side_by_side(titles: Sequence[str], burden: Callable[[Server], None], seconds: float, rounds: int) -> str:
    """The same service twice, the second one with the burden, measured in turns."""
    servers = [service.server(name, service.bake(f"iris_{name}"), **SETTINGS) for name in ("unburdened", "burdened")]
    figures: list[list[Measured]] = [[], []]
    with ExitStack() as stack:
        services = [stack.enter_context(running(server, REQUEST)) for server in servers]
        for server in servers:
            wrk(server.url(), REQUEST, CONNECTIONS, 2)
        before = [_memory(found) for found in services]
        burden(servers[1])
        for turn in range(rounds):
            for index in (0, 1) if turn % 2 == 0 else (1, 0):
                found = wrk(servers[index].url(), REQUEST, CONNECTIONS, seconds)
                assert not found.errors, found
                figures[index].append(found)
                print(titles[index], f"{found.rate:.0f}/s", flush=True)
        after = [_memory(found) for found in services]
    ratio = statistics.median(b.rate / a.rate for a, b in zip(*figures, strict=True))
    rows = [
        [
            titles[index],
            f"{statistics.median(found.rate for found in figures[index]):.0f}",
            f"{statistics.median(found.p50 for found in figures[index]):.1f}",
            f"{statistics.median(found.p99 for found in figures[index]):.1f}",
            f"{ratio:.1%}" if index else "",
            f"{before[index]:.1f} / {after[index]:.1f}",
        ]
        for index in (0, 1)
    ]
    head = ["", "requests/s", "p50 ms", "p99 ms", "of the speed without", "denzel MiB before / after"]
    return report.table(head, rows)


def _memory(found: Running) -> float:
    """Of the prediction processes, the sender of callbacks and their supervisor, in MiB."""
    return found.memory()["worker"]


@contextmanager
def _silent_receivers(count: int) -> Iterator[list[socket.socket]]:
    """Sockets that take connections and whatever comes on them, and never answer."""
    with ExitStack() as stack:
        yield [stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1024)) for _ in range(count)]


def _wait_until(reached: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < until, "not within a minute"
        time.sleep(0.1)


if __name__ == "__main__":
    main(sys.argv[1:])
