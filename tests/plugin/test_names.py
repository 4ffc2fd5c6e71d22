"""The names of the fixtures: short ones collide with nothing, and a model is replaced in one place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugin.conftest import Project

SHORT = ("pipeline", "model", "verify_input", "process", "predict", "api_client", "outside_world", "callback_receiver")
REQUEST = {"data": {"a": 1}}


def test_fixtures_of_the_user_s_with_short_names_disturb_nothing(project: Project) -> None:
    names = (*SHORT, "make_callback_receiver")
    project.write(
        "tests/conftest.py",
        "import pytest\n" + "".join(f"\n@pytest.fixture\ndef {name}():\n    return 'mine'\n" for name in names),
    )
    (project.root / "conftest.py").write_text((project.root / "tests/conftest.py").read_text())
    project.example("one", request=REQUEST, response={"a": 2})
    project.test(
        f"""
        def test_mine({", ".join(names)}):
            assert {{{", ".join(names)}}} == {{"mine"}}

        def test_ours(denzel_process, denzel_api_client, denzel_callback_receiver, model):
            assert denzel_process({REQUEST}) == {{"a": 1}}
            request = {{**{REQUEST}, "callback_uri": denzel_callback_receiver.url}}
            answer = denzel_api_client.post("/predict", json=request, headers={{"Prefer": "respond-async"}})
            assert denzel_callback_receiver.wait_for(answer.json["data"]["task_id"]).json() == {{"a": 2}}
        """
    )
    project.run().assert_outcomes(passed=5)


@pytest.mark.parametrize("name", SHORT)
def test_short_names_are_there_in_a_project_only(pytester: pytest.Pytester, clean_environment: Path, name: str) -> None:
    pytester.makepyfile(f"def test_it({name}): pass")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"E*fixture '{name}' not found"])


def test_an_overridden_model_is_used_everywhere_in_this_process(project: Project) -> None:
    project.edit_pipeline("def load_model():\n", "def load_model():\n    raise OSError('far too large')\n")
    project.write(
        "conftest.py",
        """
        import pytest

        @pytest.fixture(scope="session")
        def denzel_model():
            return {"factor": 10}
        """,
    )
    project.example("one", request={"data": {"a": 1, "b": 2}}, response={"a": 10, "b": 20})
    project.test(
        """
        import pytest

        REQUEST = {"data": {"a": 1}}

        def test_session(model, pipeline, predict, api_client):
            assert model is pipeline.model
            assert pipeline.run(REQUEST) == predict({"a": 1}) == {"a": 10}
            assert api_client.post("/predict", json=REQUEST).json == {"a": 10}

        class TestAnother:
            @pytest.fixture
            def denzel_model(self, denzel_model):
                return {"factor": denzel_model["factor"] * 10}

            def test_it(self, denzel_model, pipeline, api_client):
                assert denzel_model is pipeline.model
                assert pipeline.run(REQUEST) == {"a": 100}
                assert api_client.post("/predict", json=REQUEST).json == {"a": 100}

        def test_after_it(pipeline, api_client):
            assert pipeline.run(REQUEST) == {"a": 10}
            assert api_client.post("/predict", json=REQUEST).json == {"a": 10}
        """
    )
    project.run().assert_outcomes(passed=6)


def test_an_override_may_make_its_model_of_the_real_one(project: Project) -> None:
    project.test(
        """
        import pytest

        @pytest.fixture
        def denzel_model(pipeline):
            return {"factor": pipeline.model["factor"] + 1}

        def test_it(pipeline):
            assert pipeline.run({"data": {"a": 1}}) == {"a": 3}
        """
    )
    project.run("tests").assert_outcomes(passed=1)
