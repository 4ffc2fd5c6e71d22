"""Fewer processes than cores, as the memory holds no more: then each has more of the cores."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from denzel.settings import available_cores
from tests.support.services import Service
from tests.support.waiting import eventually


@pytest.fixture
def limited(new_service: Callable[..., Service]) -> Callable[..., Service]:
    """Call it with megabytes: so many are free for a model of 100 MB, says the container's limit."""

    def start(free: int, **settings: object) -> Service:
        service = new_service(WORKER_CONCURRENCY="auto", **settings)
        limits = service.project / "cgroup"
        for folder in (limits, limits / "memory"):  # as this machine counts: version 2, or 1
            folder.mkdir()
            texts = {"memory.max": f"{free + 1000}000000", "memory.current": "1000000000"}
            texts |= {"memory.limit_in_bytes": texts["memory.max"], "memory.usage_in_bytes": texts["memory.current"]}
            texts |= {"memory.stat": "inactive_file 0\ntotal_inactive_file 0"}
            for name, text in texts.items():
                (folder / name).write_text(text)
        processes = service.project / "denzel/processes.py"
        processes.write_text(processes.read_text().replace("/sys/fs/cgroup", str(limits)))
        (service.project / "model").write_text("b'1' * 100_000_000")
        service.start("redis", "api", "denzel")
        service.wait_ready()
        return service

    return start


def threads(service: Service) -> str:
    answer = service.predict({"predict": "{'threads': os.environ['OMP_NUM_THREADS']}"}, prefer="wait=30")
    assert answer.status_code == 200, answer.text
    return answer.json()["threads"]


@pytest.mark.skipif(available_cores() < 2, reason="one core has one process in any case")
def test_one_that_fits_alone_has_all_cores(limited: Callable[..., Service]) -> None:
    """Its libraries have counted the cores for several: so it loads them once more."""
    service = limited(100)
    eventually(lambda: len(service.events("load_model")) == 2, "it loads once more")
    eventually(lambda: threads(service) == str(available_cores()), "it has all cores", timeout=30)
    assert len(service.predictors()) == 1
    assert " ended (" not in service.log("denzel")


def test_what_the_user_says_of_threads_starts_nothing_anew(limited: Callable[..., Service]) -> None:
    service = limited(100, OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1",
                      NUMEXPR_NUM_THREADS="1", VECLIB_MAXIMUM_THREADS="1")  # fmt: skip
    assert threads(service) == "1"
    assert "once more" not in service.log("denzel")
    assert len(service.events("load_model")) == 1


@pytest.mark.skipif(available_cores() < 2, reason="one core has one process in any case")
def test_where_all_fit_nothing_loads_twice(limited: Callable[..., Service]) -> None:
    service = limited(100_000)
    service.wait_ready(processes=available_cores())
    assert threads(service) == "1"
    assert len(service.events("load_model")) == available_cores()


# ---- Those that are prepared -----------------------------------------------------------------------------------------


@pytest.fixture
def slow_to_load(new_service: Callable[..., Service]) -> Service:
    """One whose model takes until the file `model` is there."""
    service = new_service(WORKER_CONCURRENCY="auto")
    (service.project / "model").unlink(missing_ok=True)
    service.start("redis", "api", "denzel")
    return service


def imported_by_processes(service: Service) -> set[str]:
    """The ids of the prediction processes that have imported the pipeline."""
    return {words[1] for words in service.events("import")} & {str(pid) for pid in service.predictors()}


@pytest.mark.skipif(available_cores() < 2, reason="one core has one process in any case")
def test_the_others_import_while_the_first_one_loads_and_load_when_it_was_measured(slow_to_load: Service) -> None:
    service = slow_to_load
    eventually(lambda: len(imported_by_processes(service)) == available_cores(), "all have imported the pipeline")
    assert service.get("/ready").status_code == 503
    assert len(service.events("load_model")) == 1
    prepared = service.predictors()
    (service.project / "model").touch()
    service.wait_ready(processes=available_cores())
    assert (service.predictors(), len(service.events("load_model"))) == (prepared, available_cores())


@pytest.mark.skipif(available_cores() < 2, reason="one core has one process in any case")
def test_one_that_was_prepared_takes_up_an_edit_before_it_loads(slow_to_load: Service) -> None:
    service = slow_to_load
    eventually(lambda: len(imported_by_processes(service)) == available_cores(), "all have imported the pipeline")
    before = len(service.events("import"))
    pipeline = service.project / "app/logic/pipeline.py"
    pipeline.write_text(pipeline.read_text() + "\n# edited\n")
    (service.project / "model").touch()
    service.wait_ready(processes=available_cores())
    assert len(service.events("import")) > before


@pytest.mark.skipif(available_cores() < 2, reason="one core has one process in any case")
def test_a_reload_ends_what_was_prepared(slow_to_load: Service) -> None:
    service = slow_to_load
    eventually(lambda: len(imported_by_processes(service)) == available_cores(), "all have imported the pipeline")
    prepared = service.predictors()
    os.kill(service.pid("denzel"), signal.SIGHUP)
    (service.project / "model").touch()
    service.wait_ready(processes=available_cores())
    eventually(lambda: not set(prepared) & set(service.predictors()), "none of those from before is left")
    eventually(lambda: len(service.predictors()) == available_cores(), "there are as many as before")
