"""What `make status` shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands.service import status
from commands.shared.docker import Container
from commands.shared.project import CommandError
from commands.shared.readiness import worker_states

UP = dict.fromkeys(("denzel", "monitor", "api", "redis"), "UP")
PORTS = {"api": "8000", "monitor": "5555"}


def test_the_status_has_denzels_layout() -> None:
    assert status.layout(UP, PORTS, [("worker@iris", "UP", "")]) == (
        "Services:\n"
        "\tdenzel - UP\n"
        "\tmonitor - UP [ Port: 5555 ]\n"
        "\tapi - UP [ Port: 8000 ]\n"
        "\tredis - UP\n"
        "Worker: worker@iris - UP"
    )


def test_only_a_service_that_is_up_has_a_port() -> None:
    text = status.layout(UP | {"api": "DOWN"}, PORTS, worker_states(None))
    assert "\tapi - DOWN\n" in text
    assert text.endswith("Worker: all - UNAVAILABLE")


@pytest.mark.parametrize(
    "error", ["Traceback ...\n  line\nValueError: SETUP is not UP\n", "ValueError: SETUP is not UP\nmore"]
)
def test_the_main_line_of_an_error_stands_below_its_worker(error: str) -> None:
    lines = status.layout(UP, PORTS, [("worker@iris", "ERROR", error)]).splitlines()
    assert lines[-2:] == ["Worker: worker@iris - ERROR", "\tValueError: SETUP is not Up"]


def test_the_status_tells_of_code_that_does_not_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "ROOT", tmp_path)
    (tmp_path / "app/logic").mkdir(parents=True)
    helper = tmp_path / "app/logic/helper.py"
    helper.touch()
    edited = helper.stat().st_mtime

    def notes(**worker: float | str) -> list[str]:
        return status.notes({"workers": [{"loaded": edited + 9}, worker]}, "make restart applies that")

    assert notes(loaded=edited + 1) == []
    assert notes(loaded=edited - 1) == ["app/logic/helper.py was edited after it was loaded: make restart applies that"]
    refused = notes(loaded=edited - 1, reload_error="app/logic/helper.py, line 1: invalid syntax")
    assert refused == [
        "The version from before serves; the new one does not load: app/logic/helper.py, line 1: invalid syntax: "
        'correct app/logic/helper.py, then run "make restart"'
    ]
    assert status.notes(None, "") == status.notes({"workers": [{}]}, "") == []
    assert status.layout(UP, PORTS, [("worker@iris", "UP", "")], refused).endswith(f"- UP\nNote: {refused[0]}")


@pytest.mark.parametrize(
    ("service", "containers", "state"),
    [
        ("api", [], "DOWN"),
        ("api", [("running", "healthy")], "UP"),
        ("api", [("running", "starting")], "LOADING..."),
        ("api", [("running", "unhealthy")], "UNAVAILABLE"),
        ("api", [("restarting", "")], "ERROR"),
        ("api", [("exited", "unhealthy")], "DOWN"),
        ("api", [("created", "")], "DOWN"),
        ("denzel", [("running", "starting")], "UP"),
        ("denzel", [("running", "unhealthy")], "UP"),
        ("denzel", [("running", "healthy"), ("exited", "")], "DOWN"),
    ],
)
def test_a_service_is_as_well_as_its_worst_container(service: str, containers: list, state: str) -> None:
    found = [Container("id", service, *container) for container in containers]
    assert status.service_state(found) == state


def test_further_services_have_lines_where_their_compose_files_are_used() -> None:
    text = status.layout(UP | {"rabbitmq": "UP", "proxy": "UP"}, PORTS | {"proxy": "8080"}, [])
    assert text.endswith("\tredis - UP\n\trabbitmq - UP\n\tproxy - UP [ Port: 8080 ]")


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (None, ""),
        ({}, ""),
        ({"queue": 0}, "0 tasks wait"),
        ({"queue": 1}, "1 task waits"),
        ({"queue": 1000}, "1000 tasks wait"),
    ],
)
def test_what_waits_is_told_behind_the_workers(document: dict | None, said: str) -> None:
    assert status._queue(document) == said
    text = status.layout(UP, PORTS, [("worker@iris", "UP", "")], responses="asynchronous", queue=said)
    assert text.endswith("- UP\n" + (f"Queue: {said}\n" if said else "") + "Responses: asynchronous")


def test_how_predict_responds_stands_before_the_notes() -> None:
    text = status.layout(UP, PORTS, [("worker@iris", "UP", "")], ["a note"], "asynchronous")
    assert text.endswith("Worker: worker@iris - UP\nResponses: asynchronous\nNote: a note")


def test_a_retrained_model_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "ROOT", tmp_path)
    (tmp_path / "app/assets").mkdir(parents=True)
    model = tmp_path / "app/assets/model.pkl"
    model.touch()
    document = {"workers": [{"loaded": model.stat().st_mtime - 1}]}
    text = "app/assets/model.pkl was changed after it was loaded: make restart applies that"
    assert status.notes(document, "make restart applies that") == [text]


def test_the_advice_that_other_commands_give_is_given() -> None:
    workers = [("worker@iris", "ERROR", "app/logic/pipeline.py, line 1: No module named 'unidecode'")]
    assert status._errors(workers * 2, status.advice.for_dev) == [
        'Add the package unidecode to requirements.txt, then end "make dev" and start it again'
    ]


def test_the_containers_of_another_clone_are_not_shown_as_this_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = Container("id", "api", "running", "healthy", folder=str(tmp_path))
    monkeypatch.setattr(status, "containers", lambda: {"api": [container]})
    monkeypatch.setattr(status, "running_dev", lambda: None)
    monkeypatch.setattr(status, "read_marker", lambda path: None)
    monkeypatch.setattr(status, "read_env", lambda: {"COMPOSE_PROJECT_NAME": "iris"})
    with pytest.raises(CommandError, match=r"^The containers called iris belong to /.*, not to this folder"):
        status.status()
