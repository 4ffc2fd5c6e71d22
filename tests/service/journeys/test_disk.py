"""What the service writes to the disk stays within bounds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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
