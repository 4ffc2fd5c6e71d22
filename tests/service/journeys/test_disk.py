"""What the service writes to the disk stays within bounds."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from commands.shared import redis_data
from tests.support.services import Service
from tests.support.waiting import eventually

MEBI = 2**20


def sizes(service: Service, pattern: str = "worker*.log*") -> dict[str, int]:
    return {path.name: path.stat().st_size for path in (service.project / "logs").glob(pattern)}


def test_the_workers_log_is_rotated_by_size(new_service: Callable[..., Service]) -> None:
    service = new_service(LOG_MAX_BYTES=10_000, LOG_BACKUPS=2)
    service.start("redis", "api", "denzel")
    service.wait_ready()
    for number in range(6):
        answer = service.predict({"predict": f"print('x' * 4000, 'number', {number}, flush=True) or {{}}"})
        assert answer.status_code == 200
    eventually(lambda: "number 5" in (service.project / "logs/worker.log").read_text(), "the last line is written")
    found = sizes(service)
    assert set(found) == {"worker.log", "worker.log.1", "worker.log.2"}
    assert all(0 < size <= 10_000 for size in found.values()), found


def folder_size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # Redis has just replaced it
            continue
    return total


def test_the_append_only_file_is_rewritten_before_it_fills_the_disk(new_service: Callable[..., Service]) -> None:
    """Under steady load what is written grows for ever, and what is stored does not."""
    service = new_service()
    service.start("redis")
    folder = service.project / ".redis"
    value, written, largest = "x" * MEBI, 0, 0
    while written < 300 * MEBI:
        with service.redis.pipeline(transaction=False) as pipeline:
            for number in range(10):
                pipeline.set(f"record {number}", value)
            pipeline.execute()
        written += 10 * MEBI
        largest = max(largest, folder_size(folder))
        # Else it depends on the machine how much is written while the file is being rewritten.
        eventually(lambda: not service.redis.info("persistence")["aof_rewrite_in_progress"], "it is rewritten")
    assert largest < 200 * MEBI
    eventually(lambda: folder_size(folder) < 150 * MEBI, "the file shrinks")


@pytest.fixture
def on_a_small_disk(new_service: Callable[..., Service]) -> Iterator[Service]:
    """A service whose Redis writes to a disk of 6 MB."""
    service = new_service()
    folder = service.project / ".redis"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a disk of its own can be made by root alone: {mounted.stderr.strip()}")
    yield service
    for name in ("api", "denzel", "redis"):
        service.stop(name)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # what flushes Redis' file ends a moment later


def fill(folder: Path) -> Path:
    """A file that takes all of the room that is left."""
    path = folder / "filling"
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return path


def test_a_full_disk_is_named_and_nothing_that_was_accepted_is_lost(on_a_small_disk: Service) -> None:
    service = on_a_small_disk
    service.start("redis", "api", "denzel")
    service.wait_ready()
    task_id = service.submit({"predict": "wait_for('go') and {}"})
    filling = fill(service.project / ".redis")
    eventually(
        lambda: "the disk of Redis' data is full: make room on it" in (service.ready()["reason"] or ""),
        lambda: service.ready(),
        40,
    )
    refused = service.predict({"predict": "{}"}, prefer="respond-async")
    assert refused.status_code == 503
    assert "the disk of Redis' data is full" in refused.text
    assert redis_data.problem(service.log("redis")).startswith("The disk of Redis' data is full: make room on it")
    (service.project / "go").touch()
    filling.unlink()
    assert service.wait(task_id, 40)["status"] == "SUCCESS"
    eventually(lambda: service.ready()["ready"], "it goes on by itself", 30)


def test_redis_that_cannot_begin_for_want_of_room_says_so(on_a_small_disk: Service) -> None:
    service = on_a_small_disk
    fill(service.project / ".redis")
    service.start_only("redis")
    assert service.wait_for_end("redis") != 0
    assert redis_data.problem(service.log("redis")).startswith("The disk of Redis' data is full: make room on it")
