"""What Redis has answered is in its file, so that it outlives the process; and the file is soon on the disk."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest
import redis

from tests.support.processes import children_of
from tests.support.services import Service
from tests.support.waiting import eventually

WRITERS = 4
PADDING = "x" * 20_000  # so that a flush takes its time


@pytest.fixture(scope="module")
def flushed(new_service: Callable[..., Service]) -> Service:
    """A Redis, and in the file `flushes` each time at which `sync` was told to flush, and what."""
    service = new_service()
    programs = service.project / "programs"
    programs.mkdir()
    sync = programs / "sync"
    sync.write_text(
        f'#!/bin/sh\necho "$(date +%s.%N)" "$@" >>"{service.project}/flushes"\nexec {shutil.which("sync")} "$@"\n'
    )
    sync.chmod(0o755)
    service.environment["PATH"] = f"{programs}{os.pathsep}{service.environment['PATH']}"
    service.start("redis")
    return service


def flushes(service: Service) -> list[tuple[float, list[str]]]:
    """When a flush was begun, and of which files."""
    lines = (service.project / "flushes").read_text().splitlines()
    folder = service.project / ".redis"  # where Redis is at work
    return [(float(began), [str(folder / name) for name in files]) for began, _, *files in map(str.split, lines)]


def append_only_file(service: Service) -> Path:
    """The file that Redis writes to."""
    folder = service.project / ".redis"
    files = [*folder.glob("appendonly.aof"), *folder.glob("appendonlydir/*.incr.aof")]
    return max(files, key=lambda path: (len(path.name), path.name))  # they are numbered


def is_written_anew(service: Service) -> bool:
    """Whether Redis writes the file anew, without what has changed since."""
    return bool(service.redis.info("persistence")["aof_rewrite_in_progress"])


class Writers:
    """Clients that write ever larger numbers, each to a key of its own, until they are stopped or Redis is gone."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._stop = threading.Event()
        self.answered = [0] * WRITERS

    @contextmanager
    def at_work(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._write, args=(number,)) for number in range(WRITERS)]
        for thread in threads:
            thread.start()
        try:
            eventually(lambda: min(self.answered) > 10, "they write")
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _write(self, number: int) -> None:
        with suppress(redis.ConnectionError), redis.Redis.from_url(self._service.redis_url) as client:
            while not self._stop.is_set():
                client.set(f"writer {number}", f"{self.answered[number] + 1} {PADDING}")
                self.answered[number] += 1

    def stored(self) -> list[int]:
        """The numbers that Redis has."""
        return [int(self._service.redis.get(f"writer {number}").split()[0]) for number in range(WRITERS)]


def test_no_change_is_answered_before_it_is_written_not_even_during_a_flush(flushed: Service) -> None:
    flushed.redis.config_set("auto-aof-rewrite-percentage", 0)  # one file will do
    until, number = time.monotonic() + 4, 0
    with Writers(flushed).at_work(), append_only_file(flushed).open("rb") as file:
        file.seek(0, os.SEEK_END)
        while time.monotonic() < until:
            number += 1
            flushed.redis.set("checked", f"number {number}.")
            written = f"number {number}.".encode() in file.read()
            assert written, f"change {number} was answered, but not written"


def test_a_killed_redis_has_all_that_it_answered(flushed: Service) -> None:
    for _ in range(5):
        writers = Writers(flushed)
        with writers.at_work():
            flushed.kill("redis")
        flushed.start("redis")
        for stored, answered in zip(writers.stored(), writers.answered, strict=True):
            assert stored in (answered, answered + 1)


def test_the_file_is_flushed_every_second_also_after_it_was_written_anew(flushed: Service) -> None:
    eventually(lambda: not is_written_anew(flushed), "Redis is not at it already")
    before = append_only_file(flushed)
    flushed.redis.bgrewriteaof()
    eventually(lambda: not is_written_anew(flushed), "the file is written anew")
    file = append_only_file(flushed)
    assert file != before or file.parent.name == ".redis"
    count = len(flushes(flushed))
    eventually(lambda: len(flushes(flushed)) >= count + 4, "it is flushed")
    *times, _ = [began for began, files in flushes(flushed)[count:] if str(file) in files]
    assert len(times) >= 3
    assert all(later - earlier < 2 for earlier, later in pairwise(times))


@pytest.mark.parametrize("end", [Service.stop, Service.kill])
def test_nothing_is_flushed_without_redis(flushed: Service, end: Callable[[Service, str], object]) -> None:
    [loop] = children_of(flushed.pid("redis"))
    began = time.monotonic()
    end(flushed, "redis")
    assert time.monotonic() - began < 2
    eventually(lambda: not Path(f"/proc/{loop}").exists(), "the loop ends")
    flushed.start("redis")
