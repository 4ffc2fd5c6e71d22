"""Examples that leave the answer open, numbers that are rounded, and a project in which nothing is tested yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugin.conftest import Project
from tests.support.bakery import bake

NOTHING = (
    "denzel: nothing is tested yet that this service is for. Put a request and its answer into a file NAME.json in "
    'app/assets/examples, {"request": ..., "response": {...}}: each is a test.'
)


def test_an_example_without_an_answer_is_skipped_with_the_reason(project: Project) -> None:
    project.example("open", request={"data": {"a": 1}})
    project.example("wrong", request={"data": {"a": 1}}, response={"a": 2}, error="both")
    result = project.run("app/assets/examples/open.json", "-rs")
    result.assert_outcomes(skipped=1)
    reason = 'it has a request and no "response" or "error": nothing says what it should be answered'
    result.stdout.fnmatch_lines([f"SKIPPED [[]1[]] *open.json: {reason}"])
    project.run("app/assets/examples/wrong.json").assert_outcomes(failed=1)


def test_it_is_a_request_for_the_checks(project: Project) -> None:
    project.example("open", request={"data": {"a": 1}})
    project.run("app/logic").assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("error", "tolerance", "passes"),
    [("1e-9", None, True), ("1e-2", None, False), ("1e-2", 0.1, True)],
    ids=["rounding", "dependence", "allowed"],
)
def test_rounding_is_no_dependence(project: Project, error: str, tolerance: float | None, passes: bool) -> None:
    """A number near 0 may change by much of itself, and is the same for the vector that it is a part of."""
    project.edit_pipeline(
        "return {key: value * model",
        f"return {{key: [1.0, 1e-8 + {error} * len(data)] for key in data}}\n    return {{key: value * model",
    )
    answer = [1.0, 1e-8 + float(error)]
    more = {} if tolerance is None else {"tolerance": 2.0}
    project.example("a", request={"data": {"a": 1.0}}, response={"a": answer}, **more)
    project.example("b", request={"data": {"b": 2.0}}, response={"b": answer})
    result = project.run("app")
    result.assert_outcomes(passed=4 if passes else 3, failed=0 if passes else 1)
    if not passes:
        text = (
            "BATCHABLE = True promises that the ids of a request do not depend on each other, but their answers do "
            '(allow it by "tolerance" in an example, or by denzel_tolerance, if that is mere precision; else remove '
            "BATCHABLE, or make them independent):"
        )
        assert text in result.outlines


def test_a_project_as_it_was_baked_says_that_nothing_is_tested_yet(
    pytester: pytest.Pytester, clean_environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = bake(tmp_path / "baked", project_name="Empty", example="none")
    monkeypatch.chdir(root)
    project = Project(pytester, root)
    result = project.run()
    assert result.ret == 0
    assert result.outlines[-1] == NOTHING
    project.test("def test_mine(): pass")
    assert NOTHING not in project.run("--collect-only").outlines
