"""The fixtures of this process: JSON borders as in the service, errors with their stage, the user's own tracebacks."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Project

ECHO = """
    calls = []

    def verify_input(json_data):
        return json_data

    def load_model():
        calls.append("load_model")
        return "model"

    def process(model, json_data):
        return json_data

    def predict(model, data):
        return {"answer": data}
"""


def test_all_fixtures(project: Project) -> None:
    project.test(
        """
        import pytest

        REQUEST = {"data": {"a": 1, "b": 2.5}}

        def test_pipeline(pipeline):
            assert pipeline.run(REQUEST) == {"a": 2, "b": 5.0}
            assert pipeline.module.BATCHABLE

        def test_model(model, pipeline):
            assert model["factor"] == 2
            assert model is pipeline.model

        def test_verify_input(verify_input):
            assert verify_input(REQUEST) == REQUEST
            with pytest.raises(ValueError, match="a must be a number"):
                verify_input({"data": {"a": "1"}})

        def test_process(process):
            assert process(REQUEST) == {"a": 1, "b": 2.5}

        def test_predict(predict):
            assert predict({"a": 1}) == {"a": 2}

        def test_project(denzel_project):
            assert denzel_project.name == "doubling"
            assert (denzel_project.root / "app").is_dir()
            assert denzel_project.read_env()["REDIS_PASSWORD"]
        """
    )
    project.run("tests").assert_outcomes(passed=6)


def test_the_model_is_loaded_once_a_session(project: Project) -> None:
    project.pipeline(ECHO)
    for name in ("test_one", "test_two"):
        project.test(
            """
            def test_it(pipeline, model, predict):
                pipeline.run({})
                predict({})
                assert pipeline.module.calls == ["load_model"]
            """,
            name,
        )
    project.run("tests").assert_outcomes(passed=2)


def test_requests_and_answers_cross_the_borders_of_json(project: Project) -> None:
    project.pipeline(ECHO)
    project.test(
        """
        from datetime import date

        def test_what_json_changes_is_changed(pipeline, verify_input):
            assert pipeline.run({"data": (1, 2), 3: "key"}) == {"answer": {"data": [1, 2], "3": "key"}}
            assert verify_input({"day": date(2024, 2, 29)}) == {"day": "2024-02-29"}

        def test_a_body_can_be_given_as_bytes(pipeline):
            assert pipeline.run(b'{"a": [1, 2]}') == {"answer": {"a": [1, 2]}}

        def test_the_answer_is_a_copy(predict):
            data = {"a": [1]}
            answer = predict(data)
            answer["answer"]["a"].append(2)
            assert data == {"a": [1]}
        """
    )
    project.run("tests").assert_outcomes(passed=3)


@pytest.mark.parametrize(
    ("function", "returned", "message"),
    [
        (
            "predict",
            '{"a123": {"score": float("nan")}}',
            "$.a123.score: NaN is not valid JSON; None is, and becomes null",
        ),
        ("predict", '{"a123": [1, {2}]}', "$.a123[[]1]: set is not valid JSON"),
        ("predict", "[1]", "predict must return a dictionary, not list"),
        ("predict", "None", "predict must return a dictionary, not NoneType"),
        ("verify_input", "None", "verify_input returned None; end it with `return json_data`"),
        (
            "verify_input",
            "object()",
            "verify_input returned a value that JSON cannot hold: $: object is not valid JSON",
        ),
    ],
)
def test_what_would_fail_on_the_wire_fails_with_its_path_and_stage(
    project: Project, function: str, returned: str, message: str
) -> None:
    project.pipeline(ECHO + f"\n    {function} = lambda *_: {returned}\n")
    project.test("def test_it(pipeline):\n    pipeline.run({'a': 1})\n")
    result = project.run("tests")
    result.stdout.fnmatch_lines(
        [
            ">   *pipeline.run({'a': 1})",
            f"E *denzel.pipeline.errors.BadAnswer: {message}",
            f"E *stage: {function} (app/logic/pipeline.py)",
        ]
    )


@pytest.mark.parametrize(
    ("request_source", "problem"),
    [
        ("{'a': {1, 2}}", "$.a: set is not valid JSON"),
        ("b'{not json'", "*: line 1 column 2 (char 1)"),
        ("b'[1' + b'0' * 30 + b']'", "an integer is beyond 64 bits"),
    ],
)
def test_a_request_that_is_no_json_is_the_test_s_own_fault(project: Project, request_source: str, problem: str) -> None:
    project.test(f"def test_it(pipeline):\n    pipeline.run({request_source})\n")
    project.run("tests").stdout.fnmatch_lines([f"E *ValueError: the request of this test is not JSON: {problem}"])


@pytest.mark.parametrize("stage", ["verify_input", "load_model", "process", "predict"])
def test_an_error_names_its_stage_and_shows_the_user_s_traceback_alone(project: Project, stage: str) -> None:
    project.pipeline(
        ECHO
        + f"""
    def helper(value):
        raise KeyError("petal-width")

    def {stage}(*arguments):
        return helper(arguments)
"""
    )
    project.test("def test_it(pipeline):\n    pipeline.run({'a': 1})\n")
    result = project.run("tests")
    result.stdout.fnmatch_lines(
        [
            "    def test_it(pipeline):",
            ">       pipeline.run({'a': 1})",
            "tests/test_it.py:2:*",
            f"app/logic/pipeline.py:*: in {stage}",
            "    return helper(arguments)",
            "value = (*",
            "    def helper(value):",
            '>       raise KeyError("petal-width")',
            "E       KeyError: 'petal-width'",
            f"E       stage: {stage} (app/logic/pipeline.py)",
            "app/logic/pipeline.py:*: KeyError",
        ],
    )
    shown = result.stdout.str()
    assert "pytest_denzel/" not in shown
    assert "denzel/pipeline/stages.py" not in shown


def test_a_load_model_that_raises_is_called_once_and_told_every_time(project: Project) -> None:
    project.pipeline(
        ECHO
        + """
    def load_model():
        calls.append("load_model")
        raise OSError("model.pkl is missing")
"""
    )
    project.test(
        """
        import pytest

        def test_one(pipeline):
            with pytest.raises(OSError, match="model.pkl is missing"):
                pipeline.run({})

        def test_two(predict, pipeline):
            with pytest.raises(OSError, match="model.pkl is missing"):
                predict({})
            assert pipeline.module.calls == ["load_model"]

        def test_three(model):
            pass
        """
    )
    result = project.run("tests")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            '>       raise OSError("model.pkl is missing")',
            "E       OSError: model.pkl is missing",
            "E       stage: load_model (app/logic/pipeline.py)",
        ],
        consecutive=True,
    )
    assert "test_one" not in result.stdout.str().split("ERROR at setup of test_three")[1].split("short test summary")[0]


def test_verify_input_is_refused_before_the_model_is_loaded(project: Project) -> None:
    project.test(
        """
        import pytest

        def test_it(pipeline, monkeypatch):
            monkeypatch.setattr(pipeline.module, "load_model", lambda: 1 / 0)
            with pytest.raises(ValueError, match="must be an object"):
                pipeline.run([])
        """
    )
    project.run("tests").assert_outcomes(passed=1)


def test_functions_can_be_replaced_for_a_test(project: Project) -> None:
    project.test(
        """
        from app.logic import pipeline as module

        def test_it(pipeline, monkeypatch):
            assert pipeline.module is module
            monkeypatch.setattr(module, "predict", lambda model, data: {"replaced": data})
            assert pipeline.run({"data": {"a": 1}}) == {"replaced": {"a": 1}}
        """
    )
    project.run("tests").assert_outcomes(passed=1)


# ---- Pipelines that cannot be used --------------------------------------------------------------------------------


def test_a_missing_pipeline_is_told(project: Project) -> None:
    (project.root / "app/logic/pipeline.py").unlink()
    project.test("def test_it(pipeline):\n    pipeline.run({})\n")
    result = project.run("tests")
    result.stdout.fnmatch_lines(
        [
            f"E *PipelineBroken: {project.root} has no app/logic/pipeline.py, "
            "the file with load_model, verify_input, process and predict."
        ]
    )


def test_missing_functions_are_told(project: Project) -> None:
    project.pipeline("def predict(model, data):\n    return {}\n")
    project.test("def test_it(pipeline):\n    pipeline.run({})\n")
    project.run("tests").stdout.fnmatch_lines(
        ["E *PipelineBroken: app/logic/pipeline.py lacks the functions verify_input, load_model, process."]
    )


def test_a_syntax_error_is_told_with_its_line(project: Project) -> None:
    project.pipeline("def predict(model, data)\n    return {}\n")
    project.test("def test_it(pipeline):\n    pipeline.run({})\n")
    result = project.run("tests")
    result.stdout.fnmatch_lines(
        [
            '*File "*/app/logic/pipeline.py", line 1',
            "    def predict(model, data)",
            "E *PipelineBroken: app/logic/pipeline.py cannot be imported: SyntaxError: *",
        ]
    )


def test_an_error_while_importing_is_shown_where_it_happens(project: Project) -> None:
    project.pipeline("import json\n\nweights = json.loads('{')\n")
    project.test("def test_it(pipeline):\n    pipeline.run({})\n")
    result = project.run("tests")
    result.stdout.fnmatch_lines(
        [
            ">   weights = json.loads('{')",
            "app/logic/pipeline.py:3:*",
            "E *PipelineBroken: app/logic/pipeline.py cannot be imported: JSONDecodeError: *",
        ]
    )
    assert "importlib" not in result.stdout.str()


def test_a_package_that_is_not_installed_is_told_with_the_remedy(project: Project) -> None:
    project.pipeline("import no_such_package\n")
    project.test("def test_it(pipeline):\n    pipeline.run({})\n")
    project.run("tests").stdout.fnmatch_lines(
        [
            "E *PipelineBroken: app/logic/pipeline.py cannot be imported: "
            "ModuleNotFoundError: No module named 'no_such_package'",
            "E *'no_such_package' is not installed for this Python. If it is in requirements.txt: `make install`, "
            "then run pytest from the project's .venv (`make test` does).",
        ]
    )
