"""How many threads the numeric libraries get, how many processes are started, and under which names."""

from __future__ import annotations

import json
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from denzel import processes, settings, threads
from tests.support.services import Service
from tests.support.waiting import eventually


@pytest.mark.parametrize(("cores", "processes_", "expected"), [(2, 2, 1), (8, 2, 4), (2, 8, 1), (7, 2, 3), (1, 1, 1)])
def test_processes_divide_the_cores(cores: int, processes_: int, expected: int) -> None:
    assert threads.share(cores, processes_) == expected


def test_what_is_set_already_stays_unless_a_number_was_chosen() -> None:
    given = {"OMP_NUM_THREADS": "3"}
    assert "OMP_NUM_THREADS" not in threads.limits(1, automatic=True, given=given)
    assert threads.limits(1, automatic=True, given=given)["MKL_NUM_THREADS"] == "1"
    assert threads.limits(2, automatic=False, given=given) == dict.fromkeys(threads.VARIABLES, "2")


@pytest.mark.parametrize(("before", "after"), [((8, 8), (2, 2)), ((1, 8), (1, 2)), ((2, 1), (2, 1))])
def test_torch_takes_no_more_and_keeps_what_somebody_chose(
    before: tuple[int, int], after: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = list(before)
    torch = types.SimpleNamespace(
        get_num_threads=lambda: now[0],
        set_num_threads=lambda number: now.__setitem__(0, number),
        get_num_interop_threads=lambda: now[1],
        set_num_interop_threads=lambda number: now.__setitem__(1, number),
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    threads.limit_torch()
    assert tuple(now) == after


def test_a_torch_that_refuses_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(number: int = 0) -> int:
        raise RuntimeError("parallel work has started")

    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(get_num_threads=refuse))
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    threads.limit_torch()


def pipeline(service: Service, load_model: str, predict: str) -> None:
    (service.project / "app/logic/pipeline.py").write_text(
        f"import os\n\n\ndef load_model():\n    {load_model}\n\n\n"
        "def verify_input(json_data):\n    return json_data\n\n\n"
        f"def process(model, json_data):\n    return json_data\n\n\ndef predict(model, data):\n    {predict}\n"
    )


ASKS = """
    import threadpoolctl, numpy
    numpy.ones((8, 8)) @ numpy.ones((8, 8))
    pools = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]
    return {"set": {name: os.environ.get(name) for name in os.environ if name.endswith("_THREADS")}, "pools": pools}
"""


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"WORKER_CONCURRENCY": 2}, max(1, settings.available_cores() // 2)),
        ({"WORKER_CONCURRENCY": 1}, settings.available_cores()),
        ({"WORKER_CONCURRENCY": 2, "PREDICT_THREADS": 3}, 3),
        ({"EXECUTOR": "inline", "API_WORKERS": 2}, settings.available_cores()),
    ],
)
def test_a_process_uses_its_share_of_the_cores(
    options: dict[str, object], expected: int, new_service: Callable[..., Service]
) -> None:
    service = new_service(**options)
    pipeline(service, "return None", ASKS.strip())
    inline = options.get("EXECUTOR") == "inline"
    service.start(*(("api",) if inline else ("redis", "api", "denzel")))
    eventually(lambda: service.get("/ready").status_code == 200, "/ready answers 200")
    answer = service.predict({}).json()
    assert {answer["set"][name] for name in threads.VARIABLES} == {str(expected)}
    assert set(answer["pools"]) <= {min(expected, os.cpu_count() or 1), expected}


def test_auto_starts_no_more_processes_than_there_is_memory_for(new_service: Callable[..., Service]) -> None:
    service = new_service(WORKER_CONCURRENCY="auto")
    module = service.project / "denzel/worker/capacity.py"
    # A machine of eight cores with little memory: what cannot be had here is told to the one place that asks.
    text = module.read_text()
    patched = text
    for now, then in (
        ("        free = free_memory()\n", "        free = 2 * self.memory + 1\n"),
        ("        if free:", "        if False:"),
        ("self._wanted = settings.worker_concurrency", "self._wanted = Automatic(8)"),
    ):
        assert now in patched
        patched = patched.replace(now, then)
    module.write_text(patched)
    service.start("redis", "api", "denzel")
    service.wait_ready(processes=2)
    assert service.ready()["workers"][0]["processes"] == 2
    log = service.log("denzel")
    assert "2 of 8 prediction processes: each takes" in log
    assert "are free (WORKER_CONCURRENCY)" in log


def test_memory_is_measured() -> None:
    own = processes.memory_of(os.getpid())
    held = b"x" * 50_000_000
    assert 40_000_000 < processes.memory_of(os.getpid()) - own < 80_000_000, len(held)
    assert processes.free_memory() > 1_000_000
    assert processes.memory_of(2**22 + 1) == 0
    assert [processes.gigabytes(number) for number in (3_240_000_000, 180_000_000)] == ["3.2 GB", "180 MB"]


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ({"cpu.max": "10000 100000"}, 1),
        ({}, 8),
    ],
)
def test_a_container_counts_the_cores_of_its_quota(
    files: dict[str, str], cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(settings, "_CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert settings.available_cores() == cores


def test_no_name_of_a_process_is_taken_twice(new_service: Callable[..., Service]) -> None:
    """A broker may still hold what belongs to the connection of the life before (RabbitMQ: RESOURCE_LOCKED)."""
    service = new_service(WORKER_CONCURRENCY=1)
    service.start("redis", "api", "denzel")
    service.wait_ready()
    names = set()
    for life in range(1, 4):
        [pid] = service.predictors()
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        names.add(next(one for one in environment if one.startswith(b"DENZEL_NODE=")))
        assert len(names) == life
        os.kill(pid, 9)
        eventually(lambda pid=pid: service.predictors() not in ([], [pid]), "the process is started again")
    assert (
        json.loads(service.redis.hgetall("denzel/tested:nodes")[b"worker@tested"].partition(b" ")[2])["processes"] == 1
    )
