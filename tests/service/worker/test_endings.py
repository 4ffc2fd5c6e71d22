"""Whatever signal ends a process is named, with what is behind it as a rule."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from denzel.processes import ending_of
from tests.support.bakery import TEMPLATE
from tests.support.processes import children_of
from tests.support.services import Service
from tests.support.waiting import eventually

ENDINGS = {
    "SIGKILL": "SIGKILL, often: out of memory",
    "SIGBUS": "SIGBUS, often: /dev/shm is full (SHM_SIZE in .env), or the disk, or a mapped file became shorter",
    "SIGSEGV": "SIGSEGV, often: an error in compiled code, or recursion without end",
    "SIGILL": "SIGILL, often: a library that was built for another processor",
}


@pytest.mark.parametrize("name", ENDINGS)
def test_the_signal_and_its_cause_are_named(name: str) -> None:
    code = f"import os, signal; os.kill(os.getpid(), signal.{name})"
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert ending_of(done.returncode) == ENDINGS[name]


def test_signals_without_a_usual_cause_are_named_too() -> None:
    assert ending_of(-signal.SIGUSR1) == "SIGUSR1"
    assert ending_of(-signal.SIGABRT).startswith("SIGABRT, often: a library gave up")


def test_exit_codes_are_told_and_those_of_a_shell_explained() -> None:
    assert ending_of(3) == "exit code 3"
    assert ending_of(255) == "exit code 255"
    assert ending_of(137) == "exit code 137, perhaps SIGKILL, often: out of memory"


@pytest.mark.parametrize("name", ["SIGBUS", "SIGSEGV"])
def test_a_task_that_is_given_up_says_how_its_process_ended(new_service: Callable[..., Service], name: str) -> None:
    service = new_service()
    service.start("redis", "api", "denzel")
    service.wait_ready()
    task_id = service.submit({"predict": f"os.kill(os.getpid(), {int(getattr(signal, name))})"})
    reason = f"the process that ran this task died, 3 times ({ENDINGS[name]})"
    assert service.wait(task_id, timeout=40)["result"] == {"args": [reason], "type": "WorkerLostError"}
    assert f"Prediction process 1 ended while it ran task {task_id} ({ENDINGS[name]})" in service.log("denzel")
    service.stop("denzel")
    service.stop("api")


def test_the_apis_processes_are_told_of_alike(new_service: Callable[..., Service]) -> None:
    service = new_service()
    service.start("redis", "api")
    pid = next(iter(children_of(service.pid("api"))))
    os.kill(pid, signal.SIGBUS)
    eventually(lambda: f"Worker (pid:{pid}) ended ({ENDINGS['SIGBUS']})" in service.log("api"), "it is told")


def test_processes_of_the_api_that_were_told_to_leave_just_ended(new_service: Callable[..., Service]) -> None:
    service = new_service()
    service.start("redis", "api")
    old = children_of(service.pid("api"))
    os.kill(service.pid("api"), signal.SIGHUP)
    eventually(lambda: all(f"Worker (pid:{pid}) ended\n" in service.log("api") for pid in old), "they have gone", 40)
    new = children_of(service.pid("api"))
    assert service.stop("api") == 0
    assert all(f"Worker (pid:{pid}) ended" in service.log("api") for pid in new)
    assert "stopped from outside" not in service.log("api")


def test_containers_have_shared_memory_as_a_setting() -> None:
    compose = (TEMPLATE / "docker-compose.yml").read_text()
    assert compose.count("shm_size: ${SHM_SIZE:-1g}") == 1
    assert "\nSHM_SIZE=1g\n" in (TEMPLATE / ".env").read_text()
