"""What `make bench` makes of its measurements."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands.service import bench_figures
from commands.service.bench_figures import Plan, PlannedRequest, Step, advice, batch_bound, enough, knee, row
from commands.shared import env
from tests.commands.conftest import Run

PLAN = Plan(
    "http://127.0.0.1:8000", [PlannedRequest("one", "{}", 200, 1), PlannedRequest("two", "{}", 200, 2)], 5.0, 512, 60.0
)


def steps(*rates: float, errors: dict[str, int] | None = None, load: float = 0.1) -> list[Step]:
    """Steps of these rates on 1, 2, 4, ... connections; the errors are the last one's."""
    found = [Step(1 << number, rate, 1.5, 2.5, load=load) for number, rate in enumerate(rates)]
    if errors:
        found[-1] = Step(found[-1].connections, found[-1].rate, 1.5, 2.5, errors)
    return found


@pytest.mark.parametrize(
    ("rates", "connections"),
    [
        ([100], 1),
        ([100, 104], 1),
        ([100, 105], 2),
        ([100, 200, 390, 400], 4),
        ([100, 200, 190, 240, 245], 8),  # a dip on the way is not the end
        ([100, 104, 108, 112], 4),  # small rises add up
        ([100, 90, 94, 99], 1),  # getting up again is no rise
    ],
)
def test_the_knee_is_the_last_step_that_rose_by_5_percent(rates: list[float], connections: int) -> None:
    assert knee(steps(*rates)).connections == connections


@pytest.mark.parametrize(
    ("rates", "ends"),
    [([100], False), ([100, 200], False), ([100, 101], False), ([100, 200, 202, 204], True), ([100, 101, 102], True)],
)
def test_two_steps_without_a_rise_are_enough(rates: list[float], ends: bool) -> None:
    assert enough(steps(*rates)) is ends


def test_errors_end_it_and_are_no_progress() -> None:
    found = steps(100, 200, 400, errors={"429 Too many requests": 7, "no answer: timeout": 9})
    assert enough(found)
    assert knee(found).connections == 2
    text = "\n".join(advice(PLAN, found))
    assert "More than that is too much: 4 clients get errors.\n  9 x no answer: timeout\n  7 x 429 Too" in text


@pytest.mark.parametrize(("connections", "ids", "bound"), [(1, 1, 1), (16, 2, 32), (12, 1, 16), (1, 3, 4)])
def test_the_batch_bound_holds_all_that_wait_together(connections: int, ids: int, bound: int) -> None:
    assert batch_bound(connections, ids) == bound


@pytest.fixture
def pipeline(tmp_path: Path, env_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The pipeline that the advice reads, which declares BATCHABLE."""
    env_file.write_text("MAX_BATCH_SIZE=64\n")
    monkeypatch.setattr(bench_figures, "ROOT", tmp_path)
    path = tmp_path / "app" / "logic" / "pipeline.py"
    path.parent.mkdir(parents=True)
    path.write_text("import surely_not_installed\nBATCHABLE = True\n")
    return path


def test_the_advice_names_the_clients_and_the_batch_bound(pipeline: Path) -> None:
    assert env.ENV_FILE.exists()
    assert advice(PLAN, steps(100, 200, 201, 202)) == [
        "Recommended: 2 clients at a time, 200 requests/s (1.5 ms, 99 of 100 within 2.5 ms).",
        "More clients wait longer and get hardly anything more done.",
        "Batch bound: MAX_BATCH_SIZE=4 holds all that wait together then (2 requests of 2 ids). In .env: 64.",
    ]


@pytest.mark.parametrize("text", ["", "BATCHABLE = False", "BATCHABLE: bool = 1", "def f(:", "# BATCHABLE = True"])
def test_without_batchable_no_bound_is_recommended(pipeline: Path, text: str) -> None:
    pipeline.write_text(text)
    assert advice(PLAN, steps(100))[-1].startswith("Batch bound: none is needed")


def test_what_still_rises_at_the_end_and_what_was_held_up_by_the_tool_is_said(pipeline: Path) -> None:
    text = "\n".join(advice(PLAN, steps(100, 200, load=0.95)))
    assert "Throughput was still rising; go on by: make bench MAX=4096\n" in text
    assert "Sending the requests took a whole core by itself" in text


def test_errors_on_a_single_connection_allow_no_advice(pipeline: Path) -> None:
    assert advice(PLAN, steps(0, errors={"no answer: ConnectionRefusedError": 3})) == [
        "Nothing can be recommended: there were errors on a single connection.",
        "  3 x no answer: ConnectionRefusedError",
    ]


def test_the_figures_of_a_step_without_answers_are_left_out() -> None:
    assert row(Step(8, 0.0, float("nan"), float("nan"), {"x": 2})).split() == ["8", "0.0", "-", "-", "2"]


def test_the_plan_reaches_the_measuring_process_whole() -> None:
    assert Plan.from_json(PLAN.to_json()) == PLAN


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["DURATION=0"], "DURATION must be a number greater than 0, not '0'."),
        (["MAX=0"], "MAX must be a number of connections from 1 to 10000, not '0'."),
        (["MAX=many"], "MAX must be a number of connections from 1 to 10000, not 'many'."),
        (["USERS=3"], "This command does not know the variable USERS: it takes DURATION, EXAMPLE, MAX."),
    ],
)
def test_a_wrong_word_gets_one_line(make: Run, words: list[str], said: str) -> None:
    assert make("bench", *words).stderr.splitlines()[0] == said
