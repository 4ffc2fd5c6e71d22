"""Prediction processes on GPUs, as far as they can be tested without one: how they start, and which GPU each sees."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from denzel.settings import Settings
from denzel.worker.child import gpu_of
from tests.support.services import Service
from tests.support.waiting import eventually


def visible_devices(processes: list[int]) -> list[str]:
    """The value of CUDA_VISIBLE_DEVICES in each of these processes."""
    found = []
    for pid in processes:
        environment = dict(
            word.split("=", 1) for word in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in word
        )
        found.append(environment.get("CUDA_VISIBLE_DEVICES", "unset"))
    return sorted(found)


@pytest.fixture(scope="module")
def service(new_service: Callable[..., Service]) -> Service:
    service = new_service("cuda_like", WORKER_CONCURRENCY="auto", GPU_COUNT=2)
    service.start("redis", "api", "denzel")
    service.wait_ready(processes=2)
    return service


def test_each_gpu_has_a_process_of_its_own(service: Service) -> None:
    assert visible_devices(service.predictors()) == ["0", "1"]


def test_a_prediction_process_is_started_anew_and_not_forked_from_one_that_has_loaded(service: Service) -> None:
    for pid in service.predictors():
        assert b"denzel.worker.process" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    answers = [service.predict({}).json() for _ in range(10)]
    assert {answer["pid"] for answer in answers} <= set(service.predictors())
    assert {answer["device"] for answer in answers} <= {"0", "1"}


def successors(service: Service, old: list[int]) -> list[int]:
    """Two processes, none of them an old one; nothing while there are others."""
    processes = service.predictors()  # once: they may change between two looks
    return processes if len(processes) == 2 and not set(processes) & set(old) else []


def test_a_process_that_died_comes_back_on_its_gpu(service: Service) -> None:
    for pid in (before := service.predictors()):
        os.kill(pid, signal.SIGKILL)
    after = eventually(lambda: successors(service, before), "others take their places")
    assert visible_devices(after) == ["0", "1"]


def test_processes_that_are_replaced_leave_their_gpu_to_their_successors(service: Service) -> None:
    service.wait_ready(processes=2)
    before = service.predictors()
    os.kill(service.pid("denzel"), signal.SIGHUP)
    after = eventually(lambda: successors(service, before), "all are replaced")
    assert visible_devices(after) == ["0", "1"]


def test_the_inline_executor_loads_the_model_where_it_predicts(new_service: Callable[..., Service]) -> None:
    service = new_service("cuda_like", EXECUTOR="inline")
    service.start("api")
    eventually(lambda: service.get("/ready").status_code == 200, "/ready answers 200")
    assert service.predict({}).status_code == 200


def test_auto_is_one_process_per_gpu_where_there_are_any() -> None:
    assert Settings.from_environment({"GPU_COUNT": "3"}).worker_concurrency == 3
    assert Settings.from_environment({"GPU_COUNT": "3", "WORKER_CONCURRENCY": "Auto"}).worker_concurrency == 3
    assert Settings.from_environment({"GPU_COUNT": "3", "WORKER_CONCURRENCY": "5"}).worker_concurrency == 5


def test_more_processes_than_gpus_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [gpu_of(index, 2) for index in range(3)] == [{"CUDA_VISIBLE_DEVICES": device} for device in "010"]
    assert gpu_of(0, 0) == {}


def test_of_the_gpus_that_the_user_has_chosen_each_process_sees_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    assert [gpu_of(index, 2)["CUDA_VISIBLE_DEVICES"] for index in range(2)] == ["GPU-a", "GPU-b"]
