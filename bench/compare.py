"""The comparison with other model servers on this machine, in paired turns; see README.md.

python3 bench/compare.py [WORKLOADS=iris,forest,blob,bulk,async] [CONNECTIONS=1,16,64] [PEERS=fastapi,mosec,...]
                         [TURNS=6] [SECONDS=2] [WRITE=1]
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asynchronous
import comparison
import paired
import report
import servers
import service
from load import require_programs
from paths import CACHE
from paths import PEERS as PROGRAMS
from processes import QUIET, Server, running
from receiver import receiving

OURS, ASYNC = "ours", "async"
BODIES = CACHE / "bodies"
ALL = (*servers.WORKLOADS, ASYNC)


def main(words: Sequence[str]) -> None:
    """Measure and print the tables."""
    options = report.options(
        words, WORKLOADS=",".join(ALL), CONNECTIONS="1,16,64", PEERS="usual", TURNS="6", SECONDS="2", WRITE="0"
    )
    workloads = report.chosen(options, "WORKLOADS", ALL)
    usual = options["PEERS"] == "usual"
    peers = servers.USUAL if usual else report.chosen(options, "PEERS", servers.PEERS)
    connections = report.numbers(options, "CONNECTIONS")
    turns, seconds = int(report.number(options, "TURNS")), report.number(options, "SECONDS")
    require_programs()
    found = Findings(options)
    try:
        for name in workloads:
            if name == ASYNC:
                asked = [peer for peer in asynchronous.PEERS if usual or peer in peers]
                measure_asynchronous(found, asked, turns, seconds)
            else:
                measure(found, servers.WORKLOADS[name], peers, connections, turns, seconds)
    finally:  # what was measured before something failed is not lost
        path = found.save()
    comparison.publish([path], options["WRITE"])


class Findings:
    """The raw figures of one run, which comparison.py makes tables of."""

    def __init__(self, options: dict[str, str]) -> None:
        self._options = options
        self.turns: list[paired.Turn] = []
        self.asynchronous: list[asynchronous.AsyncTurn] = []
        self.checked: list[dict[str, Any]] = []
        self.missing: list[dict[str, str]] = []

    def miss(self, workload: str, server: str, error: BaseException) -> None:
        """A server could not be measured: say why."""
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        print(f"{workload:<7} {server:<9} is left out: {reason}", flush=True)
        self.missing.append({"workload": workload, "server": server, "reason": reason})

    def save(self) -> Path:
        """Write them to a file in the cache folder."""
        folder = CACHE / "results"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / time.strftime("comparison-%Y%m%d-%H%M%S.json")
        measured = {turn.server for turn in self.turns} | {turn.server for turn in self.asynchronous}
        whole = {
            "conditions": report.conditions(self._options, measured),
            "turns": paired.as_rows(self.turns),
            "asynchronous": asynchronous.as_rows(self.asynchronous),
            "checked": self.checked,
            "missing": self.missing,
        }
        path.write_text(json.dumps(whole, indent=1))
        print(f"\nRaw figures: {path}")
        return path


def measure(
    found: Findings,
    workload: servers.Workload,
    peers: Sequence[str],
    connections: Sequence[int],
    turns: int,
    seconds: float,
) -> None:
    """Start this service and the peers, check what they answer, and measure them at each number of connections."""
    expected = expected_answers(workload)
    names = [OURS, *(name for name in peers if servers.PEERS[name].takes(workload))]
    contestants: list[paired.Contestant] = []

    def gone(name: str, error: BaseException) -> None:
        if name == OURS:
            raise error
        found.miss(workload.name, name, error)

    with contextlib.ExitStack() as stack:
        for name in names:
            try:
                server = make(name, workload)
                one = stack.enter_context(paired.contestant(name, server, expected, BODIES / workload.name))
                count, wrong = one.check()
                if wrong:
                    raise RuntimeError(f"{wrong} of {count} answers are wrong or missing")
            except (RuntimeError, SystemExit) as error:
                gone(name, error)
                continue
            print(f"{workload.name:<7} {name:<9} is up and has answered {count} different requests rightly", flush=True)
            found.checked.append({"workload": workload.name, "server": name, "checked": count})
            contestants.append(one)
        for number in connections:
            for turn in paired.rounds(workload.name, contestants, number, turns, seconds, gone):
                show(turn)
                found.turns.append(turn)


def measure_asynchronous(found: Findings, peers: Sequence[str], turns: int, seconds: float) -> None:
    """The same for tasks that are answered by callbacks, with the Iris workload."""
    workload = servers.WORKLOADS["iris"]
    request, _ = expected_answers(workload)[0]
    accepters: list[asynchronous.Accepter] = []
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(receiving())
        for name in (OURS, *peers):
            try:
                up = stack.enter_context(running(make(name, workload, f"127.0.0.1:{sink}"), request))
                accepters.append(asynchronous.Accepter(name, up, request, sink, BODIES / ASYNC / f"{name}.json"))
            except (RuntimeError, SystemExit) as error:
                if name == OURS:
                    raise
                found.miss(ASYNC, name, error)
        for number in range(turns):
            for one in accepters if number % 2 else reversed(accepters):
                turn = one.turn(number, seconds)
                print(
                    f"{ASYNC:<7} {one.name:<9} {turn.accepted:8.1f}/s accepted  {turn.delivered:8.1f}/s delivered"
                    f"  {turn.lost} lost  {turn.errors} errors",
                    flush=True,
                )
                found.asynchronous.append(turn)


def make(name: str, workload: servers.Workload, sink: str = "") -> Server:
    """A server by its name; callbacks may go to the sink."""
    if name == OURS:
        return servers.ours(workload, **({"CALLBACK_ALLOW": sink} if sink else {}))
    return servers.PEERS[name].make(workload)


def expected_answers(workload: servers.Workload) -> paired.Expected:
    """The request of the measurement and others, no two the same, with the answers of the pipeline by itself."""
    python = service.environment().bin / "python"
    done = subprocess.run(
        [python, PROGRAMS / "expected.py", str(workload.checked + 1)],
        env={"PIPELINE": str(workload.pipeline), **QUIET},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def show(turn: paired.Turn) -> None:
    """Print a line of progress."""
    print(
        f"{turn.workload:<7} {turn.server:<9} {turn.connections:>3} connections {turn.rate:9.1f}/s"
        f"  p50 {turn.p50:8.2f}  p99 {turn.p99:8.1f} ms  {sum(turn.cpu.values()):.2f} ms CPU"
        f"  {turn.errors} errors  {turn.wrong} of {turn.checked} wrong",
        flush=True,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
