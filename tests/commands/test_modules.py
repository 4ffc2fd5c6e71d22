"""The commands' parts that need no Docker: what they make of the words of others."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from commands.containers import changes, permissions, reload
from commands.containers.build import Progress
from commands.service import status
from commands.service.tail import follow
from commands.shared.docker import Container, _container
from commands.shared.readiness import worker_states

# ----------------------------------------------------------------------------------------------------- status

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
    ("document", "states"),
    [
        (None, [("all", "UNAVAILABLE", "")]),
        ({"workers": []}, [("all", "LOADING...", "")]),
        ({"workers": [{"name": "w", "state": "LOADING", "error": None}]}, [("w", "LOADING...", "")]),
        ({"workers": [{"name": "w", "state": "ERROR", "error": "no"}]}, [("w", "ERROR", "no")]),
    ],
)
def test_the_workers_are_those_that_ready_names(document: dict | None, states: list) -> None:
    assert worker_states(document) == states


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


def test_a_container_is_read_from_what_docker_inspects() -> None:
    document = {
        "Id": "abc",
        "State": {"Status": "running", "Health": {"Status": "healthy"}},
        "RestartCount": 2,
        "Config": {
            "Labels": {"com.docker.compose.service": "api", "com.docker.compose.project.working_dir": "/a b/iris"}
        },
        "NetworkSettings": {"Ports": {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8123"}], "5555/tcp": None}},
    }
    assert _container(document) == Container("abc", "api", "running", "healthy", "/a b/iris", 2, frozenset({8123}))


def test_when_a_container_was_started_and_from_what_is_read_too() -> None:
    labels = {"com.docker.compose.config-hash": "digest", "com.docker.compose.image": "sha256:1"}
    state = {"Status": "running", "StartedAt": "1970-01-01T00:01:00.123456789Z"}
    container = _container({"Id": "abc", "State": state, "Config": {"Labels": labels}})
    assert (container.config, container.image, container.started) == ("digest", "sha256:1", pytest.approx(60.123456789))


# ---------------------------------------------------------------------------------------------------- restart


@pytest.mark.parametrize(
    ("now", "is_loading"),
    [
        ({}, True),  # it has not heard of it yet
        ({"reloads": 4, "reloading": True}, True),
        ({"reloads": 4}, False),
        ({"started": 2.0, "reloads": 0}, False),  # the container was started anew meanwhile
        (None, False),  # the container was removed meanwhile
    ],
)
def test_what_a_worker_told_before_is_not_taken_for_its_answer(now: dict | None, is_loading: bool) -> None:
    before = {"started": 1.0, "reloads": 3, "reloading": False, "reload_error": "of the last time"}
    assert reload._is_loading(before, now if now is None else {**before, **now}) == is_loading


@pytest.mark.parametrize(
    ("service", "written", "health", "needs_a_start"),
    [
        ("api", "app/logic/pipeline.py", "healthy", False),
        ("api", "denzel/api/application.py", "healthy", True),
        ("denzel", "denzel/worker/process.py", "unhealthy", True),
        ("denzel", "app/assets/info.txt", "unhealthy", False),
        ("proxy", "proxy/nginx.conf", "healthy", True),
        ("monitor", "denzel/api/application.py", "starting", False),
        ("monitor", "denzel/api/application.py", "unhealthy", True),
    ],
)
def test_a_container_needs_a_start_when_the_framework_is_newer_or_it_is_unwell(
    service: str, written: str, health: str, needs_a_start: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "ROOT", tmp_path)
    path = tmp_path / written
    path.parent.mkdir(parents=True)
    path.touch()
    os.utime(path, (0, 0))  # as unpacked from an archive
    container = Container("id", service, "running", health, started=path.stat().st_ctime - 1)
    assert changes.unseen_by_compose({service: [container]}) == ({service} if needs_a_start else set())
    later = Container("id", service, "running", started=path.stat().st_ctime + 1)
    assert changes.unseen_by_compose({service: [later]}) == set()


# ------------------------------------------------------------------------------------------------------ build

BUILD = """\
#1 [api internal] load build definition from Dockerfile
#1 transferring dockerfile: 2.19kB done
#5 [api os 1/4] FROM docker.io/library/python:3.13-slim
#6 [os 3/4] COPY requirements.sh ./
#6 CACHED
#7 [os 4/4] RUN bash -ex ./requirements.sh
#7 0.112 + apt-get install -y htop
#7 DONE 2.0s
#8 [framework 3/3] RUN --mount=type=cache pip install --requirement requirements-denzel.txt
#8 CACHED
#9 [api pip 2/2] RUN --mount=type=cache pip install --upgrade
#9 1.001 Collecting scikit-learn<2 (from -r requirements.txt (line 4))
#9 1.002 Requirement already satisfied: falcon in /opt/venv
#9 1.003    ━━━━━━━ 9.1/9.1 MB
#9 1.100 ERROR: No matching distribution found for scikit-learn<2
#9 ERROR: process "/bin/sh -c pip install" did not complete successfully: exit code: 1
------
 > [pip 2/2] RUN pip install:
"""


def test_a_build_is_shown_as_its_states_and_its_news() -> None:
    progress = Progress()
    assert list(progress.read(BUILD.splitlines(keepends=True))) == [
        ("OS COMMANDS...", ""),
        ("", "+ apt-get install -y htop"),
        ("PIP INSTALLING...", ""),
        ("", "Collecting scikit-learn<2"),
        ("", "ERROR: No matching distribution found for scikit-learn<2"),
    ]


def test_a_failed_build_ends_with_the_steps_own_lines_and_the_file_to_correct() -> None:
    progress = Progress()
    list(progress.read(BUILD.splitlines()))
    failure = progress.failure()
    assert "ERROR: No matching distribution found for scikit-learn<2" in failure
    assert failure.endswith("Building the image failed at requirements.txt: correct it and try again.")


def test_a_build_from_the_cache_has_no_states() -> None:
    lines = ["#7 [os 4/4] RUN bash -ex ./requirements.sh", "#7 CACHED", "#9 [pip 2/2] RUN pip install", "#9 CACHED"]
    assert list(Progress().read(lines)) == []


def test_a_build_that_fails_elsewhere_says_what_docker_says() -> None:
    progress = Progress()
    lines = ["#2 [internal] load metadata", "#2 ERROR: pull access denied", "ERROR: failed to solve: nothing:1"]
    list(progress.read(lines))
    assert "pull access denied" in progress.failure()


# -------------------------------------------------------------------------------------------------------- logs


def test_a_log_is_shown_to_its_end(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_text("one\ntwo\nunfinished", encoding="utf-8")
    assert list(follow(log, live=False)) == ["one\n", "two\n", "unfinished"]


def test_a_live_log_is_followed_over_its_rotation_line_by_line(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_text("one\n", encoding="utf-8")

    def write() -> None:
        with log.open("a", encoding="utf-8") as file:
            file.write("tw")
            file.flush()
            time.sleep(0.1)
            file.write("o\n")
        os.replace(log, tmp_path / "worker.log.1")
        time.sleep(0.1)
        log.write_text("three\n", encoding="utf-8")

    lines = follow(log, live=True, interval=0.02)
    assert next(lines) == "one\n"
    writer = threading.Thread(target=write)
    writer.start()
    assert [next(lines), next(lines)] == ["two\n", "three\n"]
    writer.join()


# ------------------------------------------------------------------------------------------------- permissions


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "allowed"),
    [(0o644, 10001, 10001, True), (0o600, 10001, 10001, False), (0o640, 10001, 0, True), (0o600, 0, 0, True)],
)
def test_who_may_read_a_file(tmp_path: Path, mode: int, uid: int, gid: int, allowed: bool) -> None:
    path = tmp_path / "model.pkl"
    path.touch()
    path.chmod(mode)
    owner = path.stat()
    uid, gid = (owner.st_uid if uid == 0 else uid), (owner.st_gid if gid == 0 else gid)
    assert permissions._allows(path, uid, gid, 0o4) is allowed
