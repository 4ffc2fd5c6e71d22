"""The benchmarks' own arithmetic: what they make of what was measured."""

from __future__ import annotations

import ast
import http.server
import importlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.bakery import REPOSITORY


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a module of bench/ as its scripts do."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "bench"))
    return importlib.import_module


def turn(
    server: str, number: int, rate: float, workload: str = "iris", connections: int = 64, **more: Any
) -> dict[str, Any]:
    """A measured turn; the p50 is that of `connections` clients who wait for nothing else."""
    return {
        "workload": workload,
        "connections": connections,
        "server": server,
        "round": number,
        "rate": rate,
        "p50": 1000 * connections / rate,
        "p99": 2000 * connections / rate,
        "requests": 2 * rate,
        "errors": 0,
        "checked": 64,
        "wrong": 0,
        "cpu": {"api": 0.2, "worker": 0.1},
        **more,
    }


def run(*turns: dict[str, Any], conditions: str = "On a machine of this test.", **more: Any) -> dict[str, Any]:
    """What compare.py keeps of a run."""
    return {"conditions": conditions, "turns": turns, "asynchronous": [], "checked": [], "missing": [], **more}


def test_ratios_are_taken_round_by_round(bench: Any) -> None:
    comparison = bench("comparison")
    # the machine is twice as fast in the second round and four times in the third; of the medians the ratio would be 1
    ours = [turn("ours", number, rate) for number, rate in enumerate((1000.0, 2000.0, 4000.0))]
    theirs = [turn("fastapi", number, rate) for number, rate in enumerate((500.0, 2000.0, 1000.0))]
    figures = comparison.Figures([run(*ours, *reversed(theirs), turn("mosec", 0, 2000.0))])
    assert figures.ratio(("iris", 64), "fastapi", "rate") == comparison.Ratio(2.0, 1.5, 3.0)
    assert str(figures.ratio(("iris", 64), "mosec", "rate")) == "**0.50** (0.50-0.50)"
    assert figures.ratio(("iris", 64), "litserve", "rate") is None


def test_the_first_table_says_where_ours_is_behind_and_what_went_wrong(bench: Any) -> None:
    comparison = bench("comparison")
    measured = run(
        *(turn("ours", number, 3000.0) for number in range(2)),
        *(turn("fastapi", number, 1500.0) for number in range(2)),
        *(turn("mosec32", number, 6000.0, wrong=2, errors=1) for number in range(2)),
        turn("ours", 0, 10.0, "blob", 1),
        turn("fastapi", 0, 40.0, "blob", 1),
        checked=[{"workload": "iris", "server": "mosec32", "checked": 256}],
        missing=[{"workload": "iris", "server": "mlserver", "reason": "pip failed"}],
        asynchronous=[
            {"server": name, "round": 0, "accepted": rate, "delivered": rate / 2, "tasks": 90, "lost": 0, "errors": 0}
            for name, rate in (("ours", 4000.0), ("denzel", 200.0))
        ],
    )
    text = comparison.tables(comparison.Figures([measured]))
    head, _, first, second, _, explained, _, conditions = text.splitlines()[:8]
    assert head.startswith(
        "| workload | connections | denzel-template: requests/s, p50 ms | FastAPI | mosec, batches |"
    )
    assert first == "| iris | 64 | 3000, 21.3 | 2.00 (2.00-2.00) | **0.50** (0.50-0.50), 2 errors, 4 wrong |"
    assert second == "| blob | 1 | 10, 100.0 | **0.25** (0.25-0.25) | - |"
    assert explained.endswith("**Bold**: denzel-template is behind.")
    assert conditions == "On a machine of this test."
    assert "| iris | 64 | 3000, 21.3 / 42.7, 0.30 | 1500, 42.7 / 85.3, 0.30 | 6000, 10.7 / 21.3, 0.30 |" in text
    assert "max_wait_time=5 (https://mosecorg.github.io/mosec/reference/interface.html) | 384 | 4 | 2 |" in text
    assert "- MLServer, iris: pip failed" in text
    assert "| Denzel 0.3 | 200: 20.00 (20.00-20.00) | 100: 20.00 (20.00-20.00) | 90 | 0 | 0 |" in text
    assert "| iris, 64: requests/s, FastAPI | 2.00 | at least 2.2 | **no** |" in text
    assert "| iris, 64: requests/s, mosec, batches | 0.50 | at least 0.7 | **no** |" in text
    assert "| blob, 1: p50, FastAPI | 4.00 | at most 1.25 | **no** |" in text
    assert "forest" not in text.split("server and its configuration")[0]  # it was not measured


def test_a_later_run_replaces_what_it_measured_again(bench: Any) -> None:
    comparison = bench("comparison")
    old = run(turn("ours", 0, 100.0), turn("celery", 0, 50.0), turn("ours", 0, 10.0, "bulk", 16), conditions="Old.")
    new = run(turn("ours", 0, 200.0), turn("mosec", 0, 100.0), conditions="New.")
    figures = comparison.Figures([old, new])
    assert figures.peers == ["mosec"]
    assert figures.keys == [("iris", 64), ("bulk", 16)]
    assert figures.median(("iris", 64), "ours", "rate") == 200.0
    assert "Old.\n\nNew." in comparison.tables(figures)


def test_the_results_and_the_table_of_the_readme_are_written_from_the_figures(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparison, report = bench("comparison"), bench("report")
    results, readme, raw = tmp_path / "RESULTS.md", tmp_path / "README.md", tmp_path / "raw.json"
    results.write_text("# R\n<!-- comparison -->\nold\n<!-- /comparison -->\n")
    readme.write_text("# D\n<!-- measured -->\nold\n<!-- /measured -->\n")
    monkeypatch.setattr(report, "RESULTS", results)
    monkeypatch.setattr(comparison, "README", readme)
    rates = {("iris", 1): (50, 100), ("iris", 64): (300, 100), ("forest", 64): (1230, 100), ("bulk", 64): (20, 10)}
    turns = [
        turn(server, 0, rate, workload, connections)
        for (workload, connections), both in rates.items()
        for server, rate in zip(("ours", "fastapi"), both, strict=True)
    ]
    raw.write_text(json.dumps(run(*turns[:-1])))
    comparison.main([str(raw), "WRITE=1"])
    assert "| iris | 64 | 300, 213.3 | 3.00 (3.00-3.00) |" in results.read_text()
    assert "\nold\n" in readme.read_text()  # a figure of the table is missing
    raw.write_text(json.dumps(run(*turns)))
    comparison.main([str(raw), "WRITE=1"])
    text = readme.read_text()
    assert [line for line in text.splitlines() if line.startswith("|")] == [
        "| requests per second; times those of | denzel-template | FastAPI |",
        "|---|---:|---:|",
        "| small support vector machine, 1 client | 50 | 0.50 |",
        "| the same, 64 clients | 300 | 3.00 |",
        "| random forest of 200 trees, 64 clients | 1230 | 12.30 |",
        "| tables of 10,000 rows, 64 clients | 20 | 2.00 |",
    ]
    assert "[All figures](bench/RESULTS.md)" in text


class Forgetful(http.server.BaseHTTPRequestHandler):
    """Answers what was sent but for "b"; "c" with an error, "d" with something else than JSON."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        data = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["data"]
        text = b"no JSON" if "d" in data else json.dumps({name: data[name] for name in data if name != "b"}).encode()
        self.send_response(500 if "c" in data else 200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        pass


def test_wrong_answers_are_counted(bench: Any, tmp_path: Path) -> None:
    paired, processes = bench("paired"), bench("processes")

    def asked(*names: str) -> list[tuple[dict[str, Any], bytes, dict[str, Any]]]:
        data = {name: number for number, name in enumerate(names)}
        return [({"data": data}, json.dumps({"data": data}).encode(), data)]

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Forgetful) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        try:
            server = processes.Server("forgetful", {}, web.server_port, tmp_path)
            assert paired.wrong_answers(server, asked("a") * 5) == 0
            assert paired.wrong_answers(server, [*asked("a") * 5, *asked("a", "b"), *asked("c"), *asked("d")]) == 3
        finally:
            web.shutdown()
            thread.join()
    assert paired.wrong_answers(server, asked("a") * 5) == 5  # nobody listens


def test_each_workload_is_a_pipeline_and_each_peer_says_how_it_is_configured(bench: Any) -> None:
    servers = bench("servers")
    assert {path.stem for path in (REPOSITORY / "bench" / "workloads").glob("*.py")} == set(servers.WORKLOADS)
    for workload in servers.WORKLOADS.values():
        tree = ast.parse(workload.pipeline.read_text(encoding="utf-8"))
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert functions == {"verify_input", "load_model", "process", "predict", "example"}
        assert f"BATCHABLE = {workload.merges}\n" in workload.pipeline.read_text(encoding="utf-8")
    documented = {name for name, peer in servers.PEERS.items() if "https://" in peer.about}
    assert servers.PEERS.keys() - documented == {"batching", "inline"}
    assert set(servers.USUAL) <= servers.PEERS.keys()


def test_what_is_not_installed_is_said(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match=r"^wrk, redis-server, redis-cli: not installed\. On Debian: apt install wrk "):
        bench("compare").main([])


def test_a_process_is_idle_only_while_a_request_waits(bench: Any) -> None:
    slow, load = bench("slow"), bench("load")
    answers = [load.Answer(200, b"", sent, 0.0) for sent in (0.0, 0.0, 1.0, 9.0)]
    calls = [
        slow.Call(1, 0.25, 2.0),  # idle for 0.25 s: the first request had been sent
        slow.Call(2, 0.5, 5.0),  # idle for 0.5 s
        slow.Call(1, 2.125, 3.0),  # idle for 0.125 s: the third request had been sent at 1
        slow.Call(1, 9.5, 10.0),  # free since 3, but the fourth request came at 9
    ]
    assert sorted(slow.idle_while_waiting(answers, calls)) == [0.125, 0.25, 0.5, 0.5]


@pytest.mark.parametrize(
    ("stack", "found"),
    [
        ("a (/v/bin/gunicorn:8);run (/v/lib/python3.11/site-packages/falcon/asgi/app.py:1)", ("falcon", "run")),
        ("main (/cache/projects/iris/denzel/worker/process.py:3)", ("denzel.worker.process", "main")),
        (
            "x (/cache/denzel/worker/process.py:3);loads (/usr/lib/python3.11/json/__init__.py:9)",
            ("Python: __init__", "loads"),
        ),
        ("predict (/v/lib/python3.11/site-packages/sklearn/svm/_base.py:4)", ("scikit-learn", "predict")),
        ("<module>", ("Python", "<module>")),
    ],
)
def test_time_counts_for_the_innermost_package(bench: Any, stack: str, found: tuple[str, str]) -> None:
    assert bench("profiling").innermost(stack) == found


def test_a_section_of_the_results_is_replaced_and_nothing_else(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = bench("report")
    path = tmp_path / "RESULTS.md"
    path.write_text("# R\n<!-- a -->\nold\n<!-- /a -->\ntext\n<!-- b -->\nold\n<!-- /b -->\n")
    monkeypatch.setattr(report, "RESULTS", path)
    report.publish("b", "new \\1", "0")
    assert "old\n<!-- /b -->" in path.read_text()
    report.publish("b", "new \\1", "1")
    assert path.read_text() == "# R\n<!-- a -->\nold\n<!-- /a -->\ntext\n<!-- b -->\nnew \\1\n<!-- /b -->\n"
    with pytest.raises(SystemExit, match="no place for c"):
        report.publish("c", "new", "1")


def test_the_results_have_a_place_for_every_section() -> None:
    text = (REPOSITORY / "bench" / "RESULTS.md").read_text(encoding="utf-8")
    for section in ("comparison", "profile", "slow", "mixed", "large", "scaling", "queue", "memory", "soak"):
        assert text.index(f"<!-- {section} -->\n") < text.index(f"\n<!-- /{section} -->")
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert readme.index("<!-- measured -->\n") < readme.index("\n<!-- /measured -->")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["SECOND=3"], "SECOND=3\\? It takes WORKLOADS=iris,forest,blob,bulk,async, CONNECTIONS=1,16,64"),
        (["SECONDS=x"], "SECONDS must be a number above 0, not 'x'"),
        (["CONNECTIONS=1,0"], "CONNECTIONS must be a number above 0, not '0'"),
        (["PEERS=mosec,nobody"], "PEERS: there is no nobody. There are: fastapi, batching, mosec, mosec32, litserve"),
        (["WORKLOADS=irises"], "WORKLOADS: there is no irises. There are: iris, forest, blob, bulk, async"),
    ],
)
def test_a_wrong_word_is_refused_before_anything_starts(bench: Any, words: list[str], said: str) -> None:
    with pytest.raises(SystemExit, match=said):
        bench("compare").main(words)


def test_of_an_overload_only_answers_in_time_count(bench: Any) -> None:
    overload = bench("overload")
    asked = [
        overload.Asked(0.0, 200, 1.0, False),
        overload.Asked(0.0, 200, 5.5, False),  # too late
        overload.Asked(1.0, 429, 0.01, False),
        overload.Asked(6.0, 200, 1.0, True),
        overload.Asked(6.0, 429, 0.03, True),
        overload.Asked(6.0, 202, 5.0, False),
        overload.Asked(6.0, 0, 0.002, False),
    ]
    assert overload.figures(asked, 0.4, 10) == ["50.0%", "50.0%", "30.0", "30.0", "2", "50.0%", "2.0"]
