"""The markers that tell what runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from commands.shared import running


@pytest.fixture
def start() -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start a Python process that has this word in its command line and runs on; none survives the test."""
    with ExitStack() as stack:

        def start(word: str) -> subprocess.Popen[str]:
            code = "import time; print(flush=True); time.sleep(60)"
            process = subprocess.Popen([sys.executable, "-c", code, word], stdout=subprocess.PIPE, text=True)
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout
            process.stdout.readline()
            return process

        yield start


def test_a_marker_counts_while_its_process_runs(tmp_path: Path, start: Callable) -> None:
    marker = tmp_path / "building.json"
    process = start("commands")
    marker.write_text(json.dumps({"pid": process.pid, "state": "x"}), encoding="utf-8")
    assert running.read_marker(marker) == {"pid": process.pid, "state": "x"}
    process.kill()
    process.wait()
    assert running.read_marker(marker) is None


def test_a_marker_of_a_stranger_that_got_the_number_does_not_count(tmp_path: Path, start: Callable) -> None:
    marker = tmp_path / "building.json"
    marker.write_text(json.dumps({"pid": start("stranger").pid}), encoding="utf-8")
    assert running.read_marker(marker) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "{}", '{"pid": "x"}'])
def test_a_broken_marker_does_not_count(tmp_path: Path, text: str) -> None:
    marker = tmp_path / "dev.json"
    marker.write_text(text, encoding="utf-8")
    assert running.read_marker(marker) is None


def test_a_marker_names_its_writer(tmp_path: Path) -> None:
    marker = tmp_path / ".denzel" / "building.json"
    running.write_marker(marker, state="PIP INSTALLING...")
    assert json.loads(marker.read_text(encoding="utf-8")) == {"pid": os.getpid(), "state": "PIP INSTALLING..."}
