"""The examples as tests: collected without a line of Python, compared with a tolerance, told apart when wrong."""

from __future__ import annotations

import json

import pytest

from tests.plugin.conftest import Project


def test_examples_are_collected_and_run(project: Project) -> None:
    project.ini("denzel_checks = none")
    project.example("doubled", request={"data": {"a": 1, "b": 2.5}}, response={"a": 2, "b": 5.0})
    project.example("refused", request={"data": {"a": "1"}}, error="a must be a number")
    project.example("failed", request={"data": {"a": -1}}, error="process does not like -1", description="see docs")
    result = project.run("-v")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        [
            "app/assets/examples/doubled.json::response PASSED *",
            "app/assets/examples/failed.json::error PASSED *",
            "app/assets/examples/refused.json::error PASSED *",
        ]
    )


def test_one_example_can_be_run_alone(project: Project) -> None:
    project.example("one", request={"data": {"a": 1}}, response={"a": 2})
    project.example("two", request={"data": {"a": 2}}, response={"a": 5})
    project.run("app/assets/examples/one.json").assert_outcomes(passed=1)
    project.run("app/assets/examples/two.json::response").assert_outcomes(failed=1)
    project.run("-k", "one.json").assert_outcomes(passed=1, deselected=3)


def test_a_wrong_answer_is_told_by_its_paths_alone(project: Project) -> None:
    project.example("wrong", request={"data": {"a": 1, "b": 2, "c": 3}}, response={"a": 3, "b": 4, "d": [1]})
    result = project.run("app/assets/examples")
    result.stdout.fnmatch_lines(
        [
            "*response of wrong*",
            "The answer is not the expected one:",
            "  $.a: expected 3, got 2 (tolerance 1e-06)",
            "  $.d: expected [[]1], but the key is missing",
            "  $.c: not expected, got 6",
            "*short test summary info*",
        ],
        consecutive=True,
    )


@pytest.mark.parametrize(
    ("data", "expected", "lines"),
    [
        (
            {"a": "1"},
            "a must be text",
            ["expected the error: a must be text", "               got: a must be a number"],
        ),
        ({"a": 1}, "a is 1", ["expected the error: a is 1", "    got the answer: {'a': 2}"]),
    ],
)
def test_another_error_than_expected_is_told(
    project: Project, data: dict[str, object], expected: str, lines: list[str]
) -> None:
    project.example("wrong", request={"data": data}, error=expected)
    project.run("app/assets/examples").stdout.fnmatch_lines(lines, consecutive=True)


def test_an_unexpected_error_shows_the_user_s_traceback(project: Project) -> None:
    project.example("wrong", request={"data": {"a": -1}}, response={"a": -2})
    result = project.run("app/assets/examples")
    result.stdout.fnmatch_lines(
        [
            '>*raise RuntimeError("process does not like -1")',
            "E *RuntimeError: process does not like -1",
            "E *stage: process (app/logic/pipeline.py)",
        ]
    )
    assert "pytest_denzel/" not in result.stdout.str()


def test_numbers_may_differ_by_the_tolerance_that_was_set(project: Project) -> None:
    project.example("near", request={"data": {"a": 1}}, response={"a": 2.001})
    project.run("app/assets/examples").assert_outcomes(failed=1)
    project.ini("denzel_tolerance = 0.001")
    project.run("app/assets/examples").assert_outcomes(passed=1)


def test_an_example_s_own_tolerance_goes_before_the_one_that_was_set(project: Project) -> None:
    project.ini("denzel_checks = none", "denzel_tolerance = 0.0001")
    project.example("near", request={"data": {"a": 1}}, response={"a": 2.001}, tolerance=0.001)
    project.example("exact", request={"data": {"a": 1}}, response={"a": 2.0001}, tolerance=0)
    result = project.run()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["  $.a: expected 2.0001, got 2 (tolerance 0)"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", " cannot be read as JSON: Expecting property name *"),
        ("[]", ' is not an example; it should be {"request": ..., "response": {...}} or *'),
        ("[" * 100_000, " is nested too deep: an example has at most 300 levels."),
        ("[" * 301 + "]" * 301, " is nested too deep: an example has at most 300 levels."),
        ('{"request": 1, "response": {}, "error": ""}', ' needs one of "response" and "error"; *'),
        ('{"request": 1, "answer": {}}', ' has an unknown key "answer"; an example may have "request", *'),
        ('{"request": 1, "error": 400}', ': "error" should be the message, as text.'),
        ('{"request": 1, "response": {}, "tolerance": "1%"}', ': "tolerance" should be a number, 0 or *'),
        ('{"request": 1, "response": {}, "tolerance": null}', ': "tolerance" should be a number, 0 or *'),
        ('{"request": 1, "response": {}, "tolerance": true}', ': "tolerance" should be a number, 0 or *'),
        ('{"request": 1, "response": {}, "tolerance": -1}', ': "tolerance" should be a number, 0 or *'),
        ('{"request": 1, "response": {}, "tolerance": NaN}', ': "tolerance" should be a number, 0 or *'),
    ],
    ids=lambda text: text[:60],
)
def test_a_file_that_is_no_example_is_told(project: Project, content: str, message: str) -> None:
    project.write("app/assets/examples/wrong.json", content)
    result = project.run("app/assets/examples")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"app/assets/examples/wrong.json{message.replace('[', '[[]')}"])


def test_what_no_terminal_can_show_is_escaped(project: Project) -> None:
    project.ini("denzel_checks = none")
    project.example("wrong", request={"data": {"a": 1}}, response={"\ud800": "\udfff"})
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(['  $.\\ud800: expected "\\udfff", but the key is missing'])


def test_the_deepest_example_is_run(project: Project) -> None:
    deep = "[" * 250 + "]" * 250
    project.write("app/assets/examples/deep.json", f'{{"request": {{"data": {{"a": {deep}}}}}, "error": "no"}}')
    project.example("one", request={"data": {"a": 1}}, response={"a": 2})
    result = project.run()
    result.stdout.fnmatch_lines(["expected the error: no", "               got: a must be a number"])
    result.assert_outcomes(passed=3, failed=1)


def test_other_json_files_are_left_alone(project: Project) -> None:
    project.write("app/assets/weights.json", "[1, 2]")
    project.write("app/assets/examples/old/one.json", "[1, 2]")
    project.write("tests/data.json", "[1, 2]")
    project.ini("denzel_checks = none")
    assert project.run().ret == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.parametrize(
    ("expected", "actual", "lines"),
    [
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": 1.0}, {"a": 1.0000001}, []),
        ({"a": 0.0}, {"a": 1e-13}, []),
        ({"a": 1}, {"a": True}, ["$.a: expected 1, got true"]),
        ({"a": True}, {"a": True}, []),
        ({"a": "x"}, {"a": None}, ['$.a: expected "x", got null']),
        ([1, 2], [1], ["$: expected 2 items, got 1"]),
        ({"a": [{"b": 1}, {"b": 2}]}, {"a": [{"b": 1}, {"b": 3}]}, ["$.a[1].b: expected 2, got 3 (tolerance 1e-06)"]),
        ({"a": {}}, {"a": []}, ["$.a: expected {}, got []"]),
    ],
)
def test_differences(expected: object, actual: object, lines: list[str]) -> None:
    from denzel import testing

    assert list(testing.differences(json.loads(json.dumps(expected)), actual, 1e-6)) == lines
