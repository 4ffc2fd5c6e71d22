"""Servers as plain processes: starting and stopping them, the CPU time and memory of each with all of its children."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paths import LOGS

_TICK = os.sysconf("SC_CLK_TCK")
START, STOP = 90.0, 10.0  # seconds
_IDLE_FOR = 0.5  # seconds
Encode = Callable[[dict[str, Any]], Any]
Decode = Callable[[Any, dict[str, Any]], dict[str, Any]]


def plain(document: Any, *_: Any) -> Any:
    """The service's own form."""
    return document


@dataclass(frozen=True)
class Server:
    """A server to be measured: the processes that it consists of, and how it is asked.

    Attributes:
        processes: name and shell command of each, in the order in which they start. One named "worker" can be
            stopped by itself for a while.
        encode: makes the body of a request from the service's own form ({"data": {id: item}}).
        decode: the predictions by id from an answer, given also the request in the service's own form.
    """

    name: str
    processes: Mapping[str, str]
    port: int
    cwd: Path
    path: str = "/predict"
    environment: Mapping[str, str] = field(default_factory=dict)
    encode: Encode = plain
    decode: Decode = plain

    def url(self) -> str:
        """Where requests are sent to."""
        return f"http://127.0.0.1:{self.port}{self.path}"


class Running:
    """A server that runs, until the block of `running` ends."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: str) -> None:
        """Start one of its processes, as the head of a process group."""
        LOGS.mkdir(parents=True, exist_ok=True)
        with open(LOGS / f"{self.server.name.replace(' ', '_')}.{name}.log", "wb") as log:
            self._processes[name] = subprocess.Popen(
                f"exec {command}",
                shell=True,
                cwd=self.server.cwd,
                env={**os.environ, **QUIET, **self.server.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_up(self, body: bytes) -> None:
        """Wait until requests are answered with 200, five times in a row."""
        deadline, in_a_row, last = time.monotonic() + START, 0, ""
        while in_a_row < 5:
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{self.server.name}: {name} ended with {process.returncode}; see {LOGS}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.server.name} did not come up ({last}); see {LOGS}")
            try:
                status, answer = post(self.server.port, self.server.path, body)
                in_a_row, last = (in_a_row + 1 if status == 200 else 0), f"{status} {answer[:200]!r}"
            except OSError as error:
                in_a_row, last = 0, str(error)
            if not in_a_row:
                time.sleep(0.2)

    def wait_until_idle(self) -> None:
        """Wait until hardly any CPU is used: one of several processes may answer while the others still load."""
        deadline, before = time.monotonic() + START, sum(self.cpu().values())
        while time.monotonic() < deadline:
            time.sleep(_IDLE_FOR)
            now = sum(self.cpu().values())
            if now - before < _IDLE_FOR / 5:
                return
            before = now

    def pid(self, name: str) -> int:
        """The id of a process."""
        return self._processes[name].pid

    def cpu(self) -> dict[str, float]:
        """The seconds of CPU that each process has used so far, with its children."""
        table = _process_table()
        return {
            name: sum(table[pid][1] for pid in _tree(process.pid, table)) / _TICK
            for name, process in self._processes.items()
        }

    def memory(self) -> dict[str, float]:
        """The proportional set size of each process with its children, in MiB."""
        table = _process_table()
        return {
            name: sum(map(_proportional_size, _tree(process.pid, table))) / 1024
            for name, process in self._processes.items()
        }

    def memory_of_each(self) -> dict[str, float]:
        """The proportional set size of every single process, in MiB."""
        table = _process_table()
        found: dict[str, float] = {}
        for service, process in self._processes.items():
            titles: Counter[str] = Counter()
            for pid in sorted(_tree(process.pid, table)):
                title = f"{service}: {_program(pid)}"
                titles[title] += 1
                number = f" {titles[title]}" if titles[title] > 1 else ""
                found[title + number] = _proportional_size(pid) / 1024
        return found

    @contextlib.contextmanager
    def stopped(self, name: str) -> Iterator[None]:
        """Freeze a process and its children for as long as the block lasts."""
        self.freeze(name)
        try:
            yield
        finally:
            self.go_on(name)

    def freeze(self, *names: str) -> None:
        """Stop these processes (all of them, if none is named) with their children, until they may go on."""
        frozen: set[int] = set()
        while new := self._pids(names) - frozen:  # one may have been started meanwhile
            _signal(new, signal.SIGSTOP)
            frozen |= new

    def go_on(self, *names: str) -> None:
        """Let these processes (all of them, if none is named) go on with their children."""
        _signal(self._pids(names), signal.SIGCONT)

    def stop(self) -> None:
        """End everything, the last process first."""
        self.go_on()
        every = self._pids(())
        for process in reversed(self._processes.values()):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what is left of the group
            process.wait()
        _signal(every & _process_table().keys(), signal.SIGKILL)  # what had a group of its own

    def _pids(self, names: Iterable[str]) -> set[int]:
        table = _process_table()
        return set().union(*(_tree(self.pid(name), table) for name in names or self._processes))


# Every server computes on one thread for each process, and calls home to nobody.
QUIET = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "DO_NOT_TRACK": "1",
    "BENTOML_DO_NOT_TRACK": "True",
}


@contextlib.contextmanager
def running(server: Server, first_request: Any) -> Iterator[Running]:
    """The server, started and answering this request of the service's form; stopped at the end."""
    found = Running(server)
    try:
        for name, command in server.processes.items():
            found.start(name, command)
        found.wait_until_up(json.dumps(server.encode(first_request)).encode())
        yield found
    finally:
        found.stop()


def post(port: int, path: str, body: bytes, **headers: str) -> tuple[int, bytes]:
    """One POST of JSON; status and body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        return response.status, response.read()
    except http.client.HTTPException as error:
        raise OSError(f"{type(error).__name__}: {error}") from None
    finally:
        connection.close()


def free_port() -> int:
    """A port that nobody listens on, below the range of outgoing connections."""
    while True:
        number = random.randint(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", number))
            return number


def _process_table() -> dict[int, tuple[int, int]]:
    """Parent and used CPU ticks (its ended children's included) of every process."""
    table = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            words = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
            table[int(entry)] = int(words[1]), sum(map(int, words[11:15]))
    return table


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _tree(root: int, table: Mapping[int, tuple[int, int]]) -> set[int]:
    found, new = set(), {root} & table.keys()
    while new:
        found |= new
        new = {pid for pid, (parent, _) in table.items() if parent in new} - found
    return found


def _program(pid: int) -> str:
    """What a process runs: a Python module, a script, or a program."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        if "-m" in words:
            return words[words.index("-m") + 1]
        is_script = "python" in Path(words[0]).name and len(words) > 2
        return Path(words[1 if is_script else 0].split(" ")[0]).name  # some write more than their name there
    return "?"


def _proportional_size(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0
