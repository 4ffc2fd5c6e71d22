"""Edits beside a running `make dev`, taken up by themselves and by `make restart`, with the real services."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.local.running import Dev, dev, free_ports, make
from tests.support.waiting import eventually

PIPELINE = """\
import os


def verify_input(json_data):
    return json_data


def load_model():
    return open("app/assets/model.txt").read().strip()


def process(model, json_data):
    return json_data


def predict(model, data):
    return {"version": "CODE", "model": model}
"""


@pytest.fixture
def project(installed: Path, tmp_path: Path) -> Path:
    """A project of its own that answers with the versions of its code and of its model."""
    project = tmp_path / "edited"
    shutil.copytree(installed, project, symlinks=True, ignore=shutil.ignore_patterns(".denzel", "dev.txt"))
    stamp = json.loads((project / ".venv/denzel-install.json").read_text())
    assert stamp["folder"] == str((project / ".venv").resolve())
    for path in (project / "app/assets").iterdir():
        if path.name != "info.txt":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (project / "app/logic/pipeline.py").write_text(PIPELINE)
    (project / "app/assets/model.txt").write_text("first")
    return project


@pytest.fixture
def running(project: Path) -> Iterator[Dev]:
    with dev(project, *free_ports(), WORKER_CONCURRENCY="1", API_WORKERS="1") as running:
        running.wait_until_ready()
        yield running


def predicted(running: Dev) -> Any:
    url = json.loads(running.marker.read_text())["api_url"]
    request = urllib.request.Request(f"{url}/predict", b"{}", {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        return json.load(error)


def edit(running: Dev, old: str, new: str) -> None:
    path = running.project / "app/logic/pipeline.py"
    path.write_text(path.read_text().replace(old, new))


def test_edits_of_code_and_assets_are_taken_up(running: Dev) -> None:
    assert predicted(running) == {"version": "CODE", "model": "first"}
    edit(running, "CODE", "second")
    eventually(lambda: predicted(running) == {"version": "second", "model": "first"}, running.text, 40)
    running.wait_for("The new code has taken over")
    (running.project / "app/assets/model.txt").write_text("retrained")
    eventually(lambda: predicted(running) == {"version": "second", "model": "retrained"}, running.text, 40)
    # what clients send is verified by the new code, too
    edit(running, "    return json_data\n\n\ndef load", "    raise ValueError('third')\n\n\ndef load")
    eventually(lambda: "third" in str(predicted(running)), running.text, 40)


def test_what_does_not_load_leaves_the_version_from_before(running: Dev) -> None:
    edit(running, "return open", "return opem")
    running.wait_for("The version from before goes on serving", 40)
    assert predicted(running) == {"version": "CODE", "model": "first"}
    edit(running, "return opem", "return open")
    edit(running, "CODE", "corrected")
    eventually(lambda: predicted(running) == {"version": "corrected", "model": "first"}, running.text, 40)


def test_make_restart_does_it_too(running: Dev) -> None:
    edit(running, "CODE", "second")
    done = make(running.project, "restart", timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The new code has taken over" in done.stdout
    assert predicted(running) == {"version": "second", "model": "first"}
    edit(running, "return open", "return opem")
    done = make(running.project, "restart", timeout=90)
    assert done.returncode != 0
    assert "name 'opem' is not defined" in done.stderr
    assert "goes on serving" in done.stderr


def test_an_edit_ends_the_back_off_of_a_failed_load(project: Path) -> None:
    (project / "app/assets/model.txt").unlink()
    with dev(project, *free_ports(), WORKER_CONCURRENCY="1", API_WORKERS="1") as running:
        running.wait_for("trying again in 8 s", 60)
        (project / "app/assets/model.txt").write_text("there")
        began = time.monotonic()
        running.wait_until_ready(20)
        assert time.monotonic() - began < 6
        assert predicted(running) == {"version": "CODE", "model": "there"}


def test_a_stop_does_not_wait_for_code_that_loads(running: Dev) -> None:
    edit(running, "def load_model():\n", "def load_model():\n    __import__('time').sleep(60)\n")
    running.wait_for("the workers load the new code", 40)
    os.killpg(running.make.pid, signal.SIGINT)
    running.assert_gone()


def test_the_status_tells_how_predict_answers(running: Dev) -> None:
    done = make(running.project, "response", "MODE=sync", "TIMEOUT=7")
    assert done.returncode == 0, done.stderr
    assert "\nResponses: synchronous, within 7 seconds\n" in make(running.project, "status").stdout
    make(running.project, "response", "MODE=async")
    assert "\nResponses: asynchronous\n" in make(running.project, "status").stdout
