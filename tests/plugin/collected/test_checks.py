"""The checks that every pipeline gets: malformed requests, and the promise of BATCHABLE."""

from __future__ import annotations

import json

import pytest

from pytest_denzel.collected.checks import BODIES, malformed_bodies
from tests.plugin.conftest import Project

SKELETON = """
    {batchable}

    def verify_input(json_data):
        {verify_input}
        return json_data

    def load_model():
        return None

    def process(model, json_data):
        return json_data["data"]

    def predict(model, data):
        {predict}
"""


def pipeline(verify_input: str = "pass", predict: str = "return data", batchable: str = "") -> str:
    return SKELETON.format(verify_input=verify_input, predict=predict, batchable=batchable)


def test_the_bodies_are_many_different_and_always_the_same() -> None:
    request = {"data": {"a": {"x": 1.5, "y": [1, 2]}, "b": {"x": "text"}}, "note": None}
    first, second = ([json.dumps(body) for body in malformed_bodies([request])] for _ in range(2))
    assert first == second
    assert len(first) == BODIES == 200
    assert len(set(first)) > 150
    assert request == {"data": {"a": {"x": 1.5, "y": [1, 2]}, "b": {"x": "text"}}, "note": None}


def test_a_syntax_error_is_told_by_every_check(project: Project) -> None:
    project.example("one", request={"data": {"a": 1}}, response={"a": 2})
    project.pipeline("BATCHABLE = True\n\ndef predict(model, data)\n    return {}\n")
    result = project.run("app")
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        ["app/logic/pipeline.py cannot be imported: SyntaxError: *", "    def predict(model, data)"]
    )
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


def test_a_sound_pipeline_passes(project: Project) -> None:
    project.example("one", request={"data": {"a": 1, "b": 2}}, response={"a": 2, "b": 4})
    result = project.run("-v", "app/logic")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["app/logic/pipeline.py::malformed PASSED *", "app/logic/pipeline.py::batchable PASSED *"]
    )


def test_checks_can_be_switched_off(project: Project) -> None:
    project.ini("denzel_checks = malformed")
    project.run("app").assert_outcomes(passed=1)
    project.run("-o", "denzel_checks=none", "app").assert_outcomes()


@pytest.mark.parametrize(
    ("verify_input", "lines"),
    [
        ("assert isinstance(json_data, dict)", ["raised AssertionError without a message: the client learns nothing"]),
        ("return None", ["verify_input returned None; end it with `return json_data`: the client gets a 500"]),
        (
            "return {1, 2}",
            ["verify_input returned a value that JSON cannot hold: $: set is not valid JSON: the client gets a 500"],
        ),
        ("raise SystemExit(2)", ["raised SystemExit(2): raise an exception such as ValueError instead"]),
    ],
)
def test_what_verify_input_does_wrong_is_told_with_the_request(
    project: Project, verify_input: str, lines: list[str]
) -> None:
    project.pipeline(pipeline(verify_input))
    result = project.run("app/logic")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "verify_input must refuse a malformed request by an ordinary exception with a message for the client; "
            "with these requests it did not:",
            "  null" if "None" not in verify_input else "  *",
            *(f"      {line}" for line in lines),
        ]
    )


def test_any_exception_with_a_message_is_a_refusal(project: Project) -> None:
    project.pipeline(pipeline("return json_data['data']['a'] + 1"))
    project.run("app/logic").assert_outcomes(passed=1)


def test_a_verify_input_that_hangs_is_interrupted_and_told_with_the_request(project: Project) -> None:
    project.pipeline(pipeline("while json_data == {'data': []}:\n            pass"))
    result = project.run("app/logic")
    result.stdout.fnmatch_lines(['  {"data": [[]]}', "      verify_input did not return within * s"])
    assert result.duration < 9


def test_a_slow_verify_input_is_tried_for_five_seconds_only(project: Project) -> None:
    project.pipeline("import time\n" + pipeline("time.sleep(0.2)").replace("\n    ", "\n"))
    result = project.run("app/logic")
    result.assert_outcomes(passed=1)
    assert result.duration < 9


def test_ids_that_depend_on_each_other_are_told(project: Project) -> None:
    project.pipeline(
        pipeline(
            predict="return {key: value / sum(data.values()) for key, value in data.items()}",
            batchable="BATCHABLE = True",
        )
    )
    project.example("one", request={"data": {"a": 1, "b": 3}}, response={"a": 0.25, "b": 0.75})
    result = project.run("app/logic")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "BATCHABLE = True promises that the ids of a request do not depend on each other, but their answers do "
            "(remove BATCHABLE, or make them independent):",
            "  id '0': $: alone 1.0, together 0.25 (tolerance 1e-06)",
            "  id '1': $: alone 1.0, together 0.75 (tolerance 1e-06)",
            "  id '0': $: alone 1.0, in another order 0.25 (tolerance 1e-06)",
        ]
    )


def test_an_order_that_matters_is_told(project: Project) -> None:
    project.pipeline(pipeline(predict="return {key: next(iter(data)) for key in data}", batchable="BATCHABLE = True"))
    project.example("one", request={"data": {"a": 1}}, response={"a": "a"})
    project.example("two", request={"data": {"b": 1, "c": 2}}, response={"b": "b", "c": "b"})
    result = project.run("app/logic")
    result.stdout.fnmatch_lines(['  id \'1\': $: alone "1", together "0"'])


def test_ids_that_are_lost_are_told(project: Project) -> None:
    project.pipeline(pipeline(predict="return dict(list(data.items())[:1])", batchable="BATCHABLE = True"))
    project.example("one", request={"data": {"a": 1, "b": 3}}, response={"a": 1})
    result = project.run("app/logic")
    result.stdout.fnmatch_lines(["  all ids together: the answer has the ids '0', the request had the ids '0', '1'"])


def test_only_requests_that_are_alike_are_merged(project: Project) -> None:
    project.pipeline(
        pipeline(predict="return data", batchable="BATCHABLE = True").replace(
            'return json_data["data"]',
            'return {key: value * json_data.get("factor", 1) for key, value in json_data["data"].items()}',
        )
    )
    project.example("one", request={"data": {"a": 1}}, response={"a": 1})
    project.example("two", request={"data": {"a": 1}, "factor": 7}, response={"a": 7})
    project.run("app").assert_outcomes(passed=4)


def test_without_a_usable_example_the_promise_cannot_be_checked(project: Project) -> None:
    project.run("app/logic", "-rs").stdout.fnmatch_lines(
        ["SKIPPED [[]1] app/logic/pipeline.py: BATCHABLE cannot be checked: no example has data by id"]
    )


def test_a_pipeline_that_does_not_declare_it_is_not_asked(project: Project) -> None:
    project.pipeline(pipeline())
    result = project.run("app/logic", "-v")
    result.assert_outcomes(passed=1)
    assert "batchable" not in result.stdout.str()


def test_a_broken_pipeline_is_told_by_the_check(project: Project) -> None:
    project.pipeline("def predict(model, data):\n    return {}\n")
    project.run("app/logic").stdout.fnmatch_lines(
        ["app/logic/pipeline.py lacks the functions verify_input, load_model, process."]
    )
