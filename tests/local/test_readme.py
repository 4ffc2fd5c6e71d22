"""The README's five minutes, as it tells them: its files are written, its commands run, its answers compared."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.local.running import dev
from tests.support import markdown
from tests.support.bakery import REPOSITORY
from tests.support.ports import free_port
from tests.support.waiting import eventually

STEPS = markdown.blocks(REPOSITORY / "README.md")


def bash(script: str, folder: Path) -> str:
    """Run a block of the README with this environment's programs; return what it printed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e"],
        input=script.replace("gh:denzel-template/denzel-template", f"'{REPOSITORY}'").replace("curl ", "curl -sS "),
        cwd=folder,
        env=os.environ | {"PATH": path, "PWD": str(folder), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="the README's requests need curl")


@needs_curl
def test_five_minutes_from_a_trained_model_to_a_running_service(tmp_path: Path) -> None:
    folder, project = tmp_path, tmp_path / "wine_cellar"
    scripts = {block.attributes["run"]: block.text for block in STEPS if "run" in block.attributes}
    answers = [json.loads(block.text) for block in STEPS if block.language == "json" and not block.attributes]
    assert list(scripts) == ["bake", "install", "train", "predict", "refused", "async", "twice"]

    bash(scripts["bake"], folder)
    for block in STEPS:
        if "file" in block.attributes:
            (project / block.attributes["file"]).write_text(block.text)
    bash(scripts["install"], project)
    bash(scripts["train"], project)
    assert "passed" in bash("make test", project)

    api_port = free_port()
    with dev(project, f"API_PORT={api_port}", f"MONITOR_PORT={free_port()}") as running:
        running.wait_until_ready(120)

        def run(name: str) -> str:
            return bash(scripts[name].replace("localhost:8000", f"localhost:{api_port}"), project)

        printed = run("predict")
        assert "Worker: worker@wine_cellar - UP" in printed
        assert json.loads(printed.splitlines()[-1]) == {"b": 1}
        assert json.loads(run("refused")) == answers[0]
        accepted = json.loads(run("async").splitlines()[-1])
        assert accepted["data"].pop("task_id")
        answers[1]["data"].pop("task_id")
        assert accepted == answers[1]
        twice = re.findall(r"^denzel-task-id: (\S+)", run("twice"), re.MULTILINE | re.IGNORECASE)
        assert len(twice) == 2
        assert len(set(twice)) == 1


@needs_curl
def test_from_seed_to_service_in_ten_commands(tmp_path: Path) -> None:
    project = tmp_path / "seed"
    scripts = {block.attributes["seed"]: block.text for block in STEPS if "seed" in block.attributes}
    commands = [line for script in scripts.values() for line in script.splitlines()]
    assert len(commands) == 10
    bake, _, tests, serve = scripts["bake"].splitlines()
    assert (tests, serve) == ("make test", "make dev &")
    bash(bake, tmp_path)
    assert "passed" in bash(tests, project)

    shipped = card(project)["version"]
    api_port = free_port()
    with dev(project, f"API_PORT={api_port}", f"MONITOR_PORT={free_port()}") as running:
        running.wait_until_ready(120)
        printed = {
            command: bash(command.replace("localhost:8000", f"localhost:{api_port}"), project)
            for command in scripts["use"].splitlines()
        }
        trained = card(project)["version"]
        assert trained != shipped
        assert "As the example expects." in printed["make predict"]
        assert f"Denzel-Model: {shipped}" in printed["make predict"]
        assert printed["make ingest"].startswith("Queued: ")
        assert f"{trained} on 500 fresh rows: R2 0.99" in printed["make score"]
        assert "The plot: .denzel/score.svg" in printed["make score"]
        assert "<svg" in (project / ".denzel/score.svg").read_text()
        assert "fresh rows: R2 0.99" in (project / "logs/training.log").read_text()
        answer = printed[commands[-1]]
        assert f"denzel-model: {trained}" in answer.lower()
        assert json.loads(answer.splitlines()[-1])["a"] == pytest.approx(5, abs=0.2)
        eventually(lambda: "Ingesting: SUCCESS, 2000 of 2000" in bash("make status", project), "it is ingested", 60)
        assert f"Model: {trained}" in bash("make status", project)
        assert card(project)["code"] == "unknown"  # no repository


def card(project: Path) -> dict:
    """The card of a project's model."""
    return json.loads((project / "app/assets/card.json").read_text())
