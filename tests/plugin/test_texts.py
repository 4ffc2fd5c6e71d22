"""What is said: of settings and marks that cannot be used, of a machine, and of how to allow what failed."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.plugin.conftest import Project


def refused(result: pytest.RunResult, text: str) -> None:
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert text in result.stderr.str()


def test_a_mark_without_a_tier_is_refused(project: Project) -> None:
    project.test("import pytest\n\n@pytest.mark.denzel_tier\ndef test_it(): pass")
    text = 'test_it.py::test_it: denzel_tier takes the names of tiers: @pytest.mark.denzel_tier("local", "docker").'
    refused(project.run("tests"), text)


def test_require_is_true_or_false(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.test("def test_it(): pass")
    monkeypatch.setenv("DENZEL_REQUIRE", "perhaps")
    text = "DENZEL_REQUIRE in the environment: it must be true or false, not 'perhaps'."
    refused(project.run("tests"), text)
    for value in ("0", "no", "True"):
        monkeypatch.setenv("DENZEL_REQUIRE", value)
        project.run("tests").assert_outcomes(passed=1)


def test_a_remote_engine_is_told(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://build.example:2376")
    project.test("def test_it(denzel_service): pass")
    result = project.run("tests", "--denzel-tier=docker", "-rs")
    result.assert_outcomes(skipped=1)
    assert "The tier docker cannot run here. DOCKER_HOST is tcp://build.example:2376, and the tier docker needs" in (
        result.stdout.str().replace("\n", " ")
    )


def test_without_fcntl_it_is_told(project: Project) -> None:
    project.write("tests/conftest.py", "import sys\n\nsys.modules['fcntl'] = None\n")
    project.write(
        "conftest.py",
        """
        import importlib.util

        import pytest_denzel.fixtures

        pytest_denzel.fixtures.find_spec = lambda name: None
        """,
    )
    project.test("def test_it(denzel_service): pass\n\ndef test_other(pipeline): pass")
    result = project.run("tests", "-rs")
    result.assert_outcomes(skipped=1, passed=1)
    result.stdout.fnmatch_lines(
        ["SKIPPED*Services cannot be tested on this system: Python has no fcntl here (Windows).*"]
    )


def test_one_bad_example_stops_no_other_test(project: Project) -> None:
    project.write("app/assets/examples/bad.json", "{")
    project.example("good", request={"data": {"a": 1}}, response={"a": 2})
    project.test("def test_it(pipeline): pass")
    result = project.run()
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(["app/assets/examples/bad.json cannot be read as JSON: *"])


def test_examples_in_subfolders_are_named(project: Project) -> None:
    project.write("app/assets/examples/more/one.json", "{}")
    project.run("app").stdout.fnmatch_lines(
        ["denzel: not run, as examples lie in app/assets/examples itself: app/assets/examples/more/one.json"]
    )


def test_how_to_allow_is_told(project: Project) -> None:
    project.example("near", request={"data": {"a": 1}}, response={"a": 2.001})
    project.test("import requests\n\ndef test_it(outside_world):\n    requests.get('https://features.example/1')")
    result = project.run()
    result.stdout.fnmatch_lines(
        [
            'E*(To allow this call: outside_world.add("GET", "https://features.example/1", json=...) before it.)',
            '(To allow this much: "tolerance": 1e-2 in the example, or denzel_tolerance in pytest.ini.)',
        ]
    )


def test_handles_tell_what_they_are(project: Project) -> None:
    project.test(
        """
        def test_it(pipeline, api_client, denzel_service, callback_receiver, outside_world, denzel_project):
            assert repr(pipeline) == f"<pipeline of {denzel_project.root}>"
            assert repr(api_client) == f"<api_client of {denzel_project.root}>"
            assert repr(denzel_service) == f"<denzel_service: {denzel_service.url}, tier inline>"
            assert repr(callback_receiver) == f"<callback_receiver {callback_receiver.url}: 0 deliveries>"
            assert repr(outside_world) == "<outside_world: 0 calls>"
        """
    )
    project.run("tests").assert_outcomes(passed=1)


def test_junit_xml_has_the_logs_of_services(project: Project, tmp_path: Path) -> None:
    project.edit_pipeline("def predict(model, data):\n", "def predict(model, data):\n    print('SEEN', flush=True)\n")
    project.test("def test_it(denzel_service):\n    assert not denzel_service.predict({'data': {'a': 1}})")
    project.run("tests", f"--junit-xml={tmp_path}/report.xml").assert_outcomes(failed=1)
    properties = ElementTree.parse(tmp_path / "report.xml").iter("property")
    logs = {entry.get("name"): entry.get("value") for entry in properties}
    assert "SEEN" in (logs["log of api (inline)"] or "")
