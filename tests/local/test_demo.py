"""`make demo`, on a PATH without Redis, Docker and uv."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local.running import bare_path, environment
from tests.support.bakery import REPOSITORY
from tests.support.processes import processes_with
from tests.support.waiting import eventually


class Demo:
    """A running demo."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.output = folder / "demo.txt"
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self.environment = environment(
            PATH=bare_path(folder / "bin"), TMPDIR=str(self.temporary), EXECUTOR="inline", CALLBACK_ALLOW=""
        )
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "demo.py", *words],
                cwd=REPOSITORY,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def text(self) -> str:
        return self.output.read_text()

    def assert_nothing_left(self) -> None:
        """No process and no file."""
        name = str(self.temporary)
        eventually(lambda: not processes_with(name), lambda: f"nothing runs: {processes_with(name)}", 5)
        assert not list(self.temporary.iterdir())


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for the output, with a short path as Redis and sockets like it."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def test_the_demo_shows_everything_and_stops(folder: Path) -> None:
    demo = Demo(folder)
    assert demo.process.wait(280) == 0, demo.text()
    text = demo.text()
    for title in (
        "== Bake the Iris example",
        "== Install what it needs",
        "== Start redis, api, denzel and monitor, without Docker: make dev",
        "== Ask for two predictions: the answer comes at once",
        "== Ask again, asynchronously: a task id comes at once, the predictions to the callback_uri",
        "== Stop everything",
    ):
        assert title in text
    answer = '{\n  "a123": "Iris-setosa",\n  "b456": "Iris-virginica"\n}\nAs expected.\n'
    assert text.count(answer) == 2, "once as the answer, once as the callback"
    assert re.search(r'"status": "success",\n  "data": \{\n    "task_id": "\S{36}"', text)
    assert "(signature: valid)" in text
    assert '"state": "delivered"' in text
    assert "== Where it is" not in text, "it is about to end"
    assert "Stopped; nothing is left running.\n\nTo look around while it serves:   make demo KEEP=1\n" in text
    assert text.endswith(f"cookiecutter {REPOSITORY}\n")
    assert "Inspect method" not in text
    demo.assert_nothing_left()


def test_kept_it_serves_until_ctrl_c(folder: Path) -> None:
    demo = Demo(folder, "KEEP=1")
    try:
        eventually(lambda: "Serving until Ctrl-C" in demo.text() or demo.process.poll() is not None, demo.text, 280)
        assert re.search(r"^Monitor  http://127.0.0.1:\d+ ", demo.text(), re.MULTILINE)
        url = re.search(r"^API      (\S+)", demo.text(), re.MULTILINE)
        assert url, demo.text()
        with urllib.request.urlopen(f"{url[1]}/ready", timeout=5) as response:
            assert json.load(response)["ready"]
        project = re.search(r"^Project  (\S+)", demo.text(), re.MULTILINE)
        assert project
        shown = subprocess.run(
            ["make", "predict"], cwd=project[1], env=demo.environment, capture_output=True, text=True, timeout=30
        )
        assert "As the example expects." in shown.stdout, shown.stderr
    finally:
        os.killpg(demo.process.pid, signal.SIGINT)
    assert demo.process.wait(15) == 0, demo.text()
    assert demo.text().endswith("Stopped; nothing is left running.\n")
    demo.assert_nothing_left()


def test_a_killed_demo_leaves_no_process(folder: Path) -> None:
    demo = Demo(folder, "--keep")
    try:
        eventually(
            lambda: "make dev" in demo.text() and list(demo.temporary.glob("*/iris_classifier/.denzel/dev.json")),
            demo.text,
            280,
        )
    finally:
        demo.process.kill()
        demo.process.wait()
    name = str(demo.temporary)
    eventually(lambda: not processes_with(name), lambda: f"nothing runs: {processes_with(name)}", 8)


def test_an_unknown_word_is_refused() -> None:
    done = subprocess.run([sys.executable, "demo.py", "KEPT=1"], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "usage: make demo [KEEP=1], not KEPT=1\n"
