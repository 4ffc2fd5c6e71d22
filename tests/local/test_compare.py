"""The paired turns of `make compare`, on the real service and a server of a few lines, for a few seconds."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.local.running import environment
from tests.support.bakery import REPOSITORY
from tests.support.ports import free_port
from tests.support.processes import command_line, tree_of

SETOSA = {"sepal-length": 4.6, "sepal-width": 3.6, "petal-length": 1.0, "petal-width": 0.2}
VIRGINICA = {"sepal-length": 6.5, "sepal-width": 3.2, "petal-length": 5.1, "petal-width": 2.0}
# No two the same; the first is the one that wrk sends.
EXPECTED = [
    ({"data": {f"{number}-a": SETOSA, f"{number}-b": VIRGINICA}},
     {f"{number}-a": "Iris-setosa", f"{number}-b": "Iris-virginica"})
    for number in range(9)
]  # fmt: skip

# Takes every flower for the same one.
TRIVIAL = """
import http.server, json, sys

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        flowers = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["data"]
        text = json.dumps({name: "Iris-setosa" for name in flowers}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Import a module of bench/ as its scripts do; what they keep goes into a folder of this test."""
    monkeypatch.setenv("DENZEL_BENCH_HOME", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(REPOSITORY / "bench"))
    return importlib.import_module


@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed")
def test_servers_are_measured_in_turns_and_frozen_between_them(bench: Any, installed: Path, tmp_path: Path) -> None:
    paired, processes = bench("paired"), bench("processes")
    api_port, dev = free_port(), "make --no-print-directory dev"
    words = f"API_PORT={api_port} MONITOR_PORT={free_port()}"
    ours = processes.Server("ours", {"dev": f"{dev} {words}"}, api_port, installed, environment=environment())
    trivial_port = free_port()
    (tmp_path / "trivial.py").write_text(TRIVIAL)
    trivial = processes.Server(
        "trivial", {"api": f"'{sys.executable}' trivial.py {trivial_port}"}, trivial_port, tmp_path
    )
    with (
        paired.contestant("ours", ours, EXPECTED, tmp_path) as one,
        paired.contestant("trivial", trivial, EXPECTED, tmp_path) as other,
    ):
        every = _pids(one) | _pids(other)
        assert len(every) > 5
        assert one.check() == (8, 0)
        assert other.check() == (8, 8)
        turns = []
        for turn in paired.rounds("iris", [one, other], 4, 2, 1, gone=_fail):
            turns.append(turn)
            states = [_state(pid) for contestant in (one, other) for pid in _pids(contestant)]
            assert states
            assert set(states) == {"T"}
    assert [(turn.server, turn.round) for turn in turns] == [("trivial", 0), ("ours", 0), ("ours", 1), ("trivial", 1)]
    assert [(turn.checked, turn.wrong) for turn in turns] == [(4, 4), (4, 0), (4, 0), (4, 4)]
    for turn in turns:
        assert turn.errors == 0
        assert turn.requests > 10
        assert 0 < turn.p50 <= turn.p99
        assert sum(turn.cpu.values()) > 0
    assert not [line for pid in every if (line := command_line(pid))]


def _fail(name: str, error: RuntimeError) -> None:
    raise error


def _pids(contestant: Any) -> set[int]:
    running = contestant.service
    return set().union(*(tree_of(running.pid(name)) for name in running.server.processes))


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
