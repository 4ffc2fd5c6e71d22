"""What a prediction process and its supervisor tell each other, also when the process is frozen or dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from denzel.worker import process_state
from denzel.worker.process_state import ProcessState
from tests.support.bakery import TEMPLATE
from tests.support.processes import is_alive
from tests.support.waiting import eventually


@pytest.fixture
def state() -> Iterator[ProcessState]:
    state = ProcessState.create()
    yield state
    state.close()


def child(script: str, state: ProcessState | None = None, **options: object) -> subprocess.Popen[str]:
    """A process of the service that runs this script."""
    environment = {**os.environ, "PYTHONPATH": str(TEMPLATE), **(state.environment if state else {})}
    return subprocess.Popen(
        [sys.executable, "-c", f"from denzel.processes import *\nfrom denzel.worker.process_state import *\n{script}"],
        env=environment,
        pass_fds=[state.fd] if state else [],
        stdout=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload]
    )


def test_a_new_page_says_that_the_process_is_loading(state: ProcessState) -> None:
    assert state.state == process_state.LOADING
    assert state.error == state.task_id == ""
    assert state.busy_for is None


def test_the_supervisor_sees_what_the_process_says(state: ProcessState) -> None:
    with child("state = ProcessState.inherited()\nstate.set(ERROR, 'no model: ü')\nstate.begin('id-1')", state):
        pass
    assert state.state == process_state.ERROR
    assert state.error == "no model: ü"
    assert state.task_id == "id-1"
    assert 0 <= state.busy_for < 30  # type: ignore[operator]
    assert 0 <= state.silent_for < 30


def test_a_process_without_a_supervisor_has_a_page_of_its_own() -> None:
    with child("state = ProcessState.inherited()\nstate.set(READY)\nprint(state.state)") as process:
        assert process.stdout
        assert process.stdout.read() == f"{process_state.READY}\n"


def test_times_go_on_while_the_process_is_frozen(state: ProcessState) -> None:
    script = "state = ProcessState.inherited()\nstate.set(READY)\nstate.begin('id')\nprint('.', flush=True)\ninput()"
    with child(script, state, stdin=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdin
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        before = state.busy_for
        assert before is not None
        eventually(lambda: (state.busy_for or 0) > before, "time goes on")
        process.kill()
    assert state.task_id == "id"


def test_begin_end_and_tick(state: ProcessState) -> None:
    state.begin("id-1")
    assert state.busy_for is not None
    state.end()
    assert state.busy_for is None
    silent = state.silent_for
    time.sleep(0.01)
    assert state.silent_for > silent
    state.tick()
    assert state.silent_for < 0.01


@pytest.mark.parametrize("text", ["x" * 10_000, "ü" * 10_000, "😀" * 10_000, "\ud800 lone", ""])
def test_long_and_odd_texts_are_cut_not_broken(state: ProcessState, text: str) -> None:
    state.set(process_state.ERROR, text)
    state.begin(text)
    assert state.error in text.replace("\ud800", "?")
    assert len(state.error.encode()) <= 2048
    assert len(state.task_id.encode()) <= 64
    state.set(process_state.READY)
    assert state.error == ""


def test_pages_are_apart_and_given_back() -> None:
    before = len(os.listdir("/proc/self/fd"))
    pages = [ProcessState.create() for _ in range(50)]
    for number, page in enumerate(pages):
        page.set(process_state.ERROR, str(number))
    assert [page.error for page in pages] == [str(number) for number in range(50)]
    for page in pages:
        page.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_process_ends_with_its_parent() -> None:
    script = """
import os, sys, time
child = os.fork()
if child == 0:
    die_with_parent()
    print(os.getpid(), flush=True)
    time.sleep(60)
os.waitpid(child, 0)
"""
    with child(script) as parent:
        assert parent.stdout
        orphan = int(parent.stdout.readline())
        parent.kill()
    eventually(lambda: not is_alive(orphan), "the child has ended, too", timeout=5)
