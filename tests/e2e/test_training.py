"""The regression example on containers: trained, scored, ingested and served there, from the folder of its user.

The tests are one story and build on each other.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import requests

from tests.e2e.project import Project
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

REQUEST = {"data": {"a": {"x1": 1, "x2": 2}}}


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = new_project(tmp_path_factory.mktemp("training"), example="regression")
    project.launch()
    return project


def card(project: Project) -> dict:
    return json.loads((project.path / "app/assets/card.json").read_text())


def version(project: Project) -> str:
    """The version that an answer names."""
    answer = requests.post(f"{project.url}/predict", json=REQUEST, timeout=30)
    assert answer.status_code == 200, answer.text
    assert answer.json()["a"] == pytest.approx(5, abs=0.2)
    return answer.headers["Denzel-Model"]


def test_it_serves_at_once(project: Project) -> None:
    assert "As the example expects." in project.run("predict").out
    assert version(project) == card(project)["version"]


def test_a_new_model_is_trained_in_a_container_and_serves_after_a_restart(project: Project) -> None:
    shipped = card(project)["version"]
    printed = project.run("train").out
    trained = card(project)["version"]
    assert trained != shipped
    assert trained in printed
    assert version(project) == shipped
    project.run("restart")
    assert version(project) == trained
    ready = requests.get(f"{project.url}/ready", timeout=10).json()
    assert ready["model_version"] == trained
    assert f"Model: {trained}" in project.run("status").out


def test_a_worse_model_is_refused(project: Project) -> None:
    before, env = card(project), project.path / ".env"
    text = env.read_text()
    env.write_text(f"{text}DEGREE=1\n")
    refused = project.make("train")
    assert refused.code != 0
    assert "Refused: R2 of the new model is 0.914023" in refused.err
    assert card(project) == before
    project.run("train", "FORCE=1")
    assert card(project)["forced"] is True
    env.write_text(text)
    project.run("train")
    assert card(project)["metrics"] == before["metrics"]


def test_the_model_is_scored(project: Project) -> None:
    printed = project.run("score").out
    assert f"{card(project)['version']} on 500 fresh rows: R2 0.99" in printed
    report = json.loads((project.path / ".denzel/score/report.json").read_text())
    assert len(report["points"]["predicted"]) == 500


def test_the_data_are_brought_into_the_project(project: Project) -> None:
    assert project.run("ingest").out.startswith("Queued: ")
    eventually(lambda: "Ingesting: SUCCESS, 2000 of 2000" in project.run("status").out, "it is ingested", 60)
    assert (project.path / "data/points.sqlite").stat().st_size > 10_000
    assert "R2 0.99" in project.run("train").out, "on what was ingested"
