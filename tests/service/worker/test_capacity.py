"""Fewer processes than cores, as the memory holds no more: then each has more of the cores."""

from __future__ import annotations

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
    assert " ended" not in service.log("denzel")


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
