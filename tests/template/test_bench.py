"""The benchmarks' own arithmetic: what they make of what was measured."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from tests.support.bakery import REPOSITORY


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a module of bench/ as its scripts do."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "bench"))
    return importlib.import_module


def row(server: str, connections: int | None, **figures: float) -> dict[str, Any]:
    if connections is None:
        return {"server": server, "tasks": 100, "lost": 0, "errors": 0, **figures}
    common = {"errors": 0, "wrong": 0, "memory": {"api": 50.0}, "cpu": {"api": 0.2, "worker": 0.1, "monitor": 0.3}}
    return {"server": server, "connections": connections, **common, **figures}


def test_medians_are_compared_with_the_goals(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    report = bench("report")
    monkeypatch.setattr(report, "conditions", lambda *_: "On a machine of this test.")
    results = [
        row("ours", 64, rate=3000.0, p50=10.0, p99=20.0),
        row("ours", 64, rate=5000.0, p50=12.0, p99=30.0),
        row("fastapi2", 64, rate=1000.0, p50=40.0, p99=50.0),
        row("litserve", 64, rate=1000.0, p50=40.0, p99=50.0),
        row("ours", None, accepted=4000.0, drained=3000.0),
        row("denzel", None, accepted=200.0, drained=400.0),
    ]
    names = {"ours": "denzel-template", "fastapi2": "FastAPI", "litserve": "LitServe", "denzel": "Denzel"}
    text = report.comparison(results, names, {})
    assert text.startswith("On a machine of this test.\n\n| requests/s,")
    assert "| denzel-template | 4000, 11.00 / 25.0, 0.60 | 50 | 0 | 0 |" in text
    assert "| 64 connections, requests/s: FastAPI in-process, 2 processes | 4.00 | at least 2.5 | yes |" in text
    assert "| 64 connections, requests/s: LitServe | 4.00 | at least 6.5 | **no** |" in text
    assert "| 64 connections, p99: FastAPI in-process, 2 processes | 0.50 | at most 1 | yes |" in text
    assert "| 64 connections, CPU ms a request but for the monitor | 0.30 | at most 0.4 | yes |" in text
    assert "| asynchronous, accepted/s: Denzel | 20.00 | at least 12 | yes |" in text
    assert "| asynchronous, delivered/s: Denzel | 7.50 | at least 10 | **no** |" in text
    assert "MLServer" not in text  # it was not measured


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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["SECOND=3"], "SECOND=3\\? It takes SECONDS=8"),
        (["SECONDS=x"], "SECONDS must be a number above 0, not 'x'"),
        (["CONNECTIONS=1,0"], "CONNECTIONS must be a number above 0, not '0'"),
        (["SERVERS=ours,nobody"], "No such server: nobody. There are: ours, apart, inline, denzel"),
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
