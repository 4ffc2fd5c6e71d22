"""Data that Redis would read wrongly or not at all: it is said why, and they are repaired without a loss."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from commands.shared import redis_data
from tests.support.services import Service
from tests.support.waiting import eventually

REPAIR = "To make them readable: make repair"


@pytest.fixture
def written(new_service: Callable[..., Service]) -> Service:
    """A Redis that has stopped, with ten keys, of which five were written anew, with a base file of their own."""
    service = new_service()
    service.start("redis")
    for number in range(5):
        service.redis.set(f"old-{number}", "x" * 3000)
    service.redis.bgrewriteaof()
    eventually(lambda: not service.redis.info("persistence")["aof_rewrite_in_progress"], "it is written anew")
    eventually(lambda: any(data(service).glob("appendonlydir/*.2.base.rdb")), "the base is there")
    for number in range(5):
        service.redis.set(f"new-{number}", "y" * 3000)
    service.stop("redis")
    return service


def data(service: Service) -> Path:
    return service.project / ".redis"


def part(service: Service, kind: str) -> Path:
    [found] = data(service).glob(f"appendonlydir/*.{kind}")
    return found


def run(service: Service, word: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(service.project / "entrypoints/redis.sh"), word]
    environment = {**service.environment, **options.pop("environment", {})}  # type: ignore[dict-item]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, **options)  # type: ignore[call-overload]


def refusal(service: Service) -> str:
    """What Redis, or what starts it, says where it does not start; what the commands make of that."""
    service.start_only("redis")
    assert service.wait_for_end("redis") != 0
    return redis_data.problem(service.log("redis"))


def keys(service: Service) -> set[str]:
    service.start("redis")
    try:
        return {key.decode() for key in service.redis.scan_iter()}
    finally:
        service.stop("redis")


OLD, NEW = {f"old-{number}" for number in range(5)}, {f"new-{number}" for number in range(5)}


def test_data_that_end_in_zeros(written: Service) -> None:
    with part(written, "incr.aof").open("ab") as file:
        file.write(bytes(5000))
    said = refusal(written)
    assert "end in zeros, as after a power cut" in said
    assert REPAIR in said
    done = run(written, "repair")
    assert done.returncode == 0, done.stderr
    assert "are readable again. What they were before is in before-repair-" in done.stdout
    assert keys(written) == OLD | NEW
    [copy] = data(written).glob("before-repair-*/appendonlydir/*.incr.aof")
    assert copy.read_bytes().endswith(bytes(5000)), "nothing is lost of what was there"
    assert "are whole: nothing to repair" in run(written, "repair").stdout


def test_data_that_are_damaged_in_between(written: Service) -> None:
    """What comes before the damage is there again."""
    file = part(written, "incr.aof")
    text = file.read_bytes()
    place = text.index(b"new-3")
    file.write_bytes(text[: place - 4] + b"\0\0\0\0" + text[place:])
    assert refusal(written) == f"The data of Redis are damaged. {redis_data.REPAIR}"
    assert run(written, "repair").returncode == 0
    assert keys(written) == OLD | {"new-0", "new-1", "new-2"}


def test_a_base_that_is_cut_off(written: Service) -> None:
    """What came after it is there again, and the base itself is kept."""
    file = part(written, "base.rdb")
    os.truncate(file, 6000)
    assert "damaged" in refusal(written)
    assert run(written, "repair").returncode == 0
    assert keys(written) == NEW
    [copy] = data(written).glob("before-repair-*/appendonlydir/*.base.rdb")
    assert copy.stat().st_size == 6000


def test_what_is_cut_off_at_the_end_is_no_hindrance(written: Service) -> None:
    file = part(written, "incr.aof")
    os.truncate(file, file.stat().st_size - 7)
    assert keys(written) == OLD | NEW - {"new-4"}


@pytest.mark.parametrize("noted", [True, False])
def test_an_older_redis_does_not_begin_with_nothing(written: Service, tmp_path: Path, noted: bool) -> None:
    """One before 7.0 does not know the folder of the newer ones, and would start without data."""
    program = tmp_path / "redis-server"
    program.write_text('#!/bin/sh\n[ "$1" = --version ] || exit 9\necho "Redis server v=6.2.14 sha=0:0"\n')
    program.chmod(0o755)
    if not noted:
        (data(written) / "written-by").unlink()
    before = sorted(data(written).rglob("*"))
    done = run(written, "start", environment={"REDIS_SERVER": str(program)})
    assert done.returncode == 1
    assert "which Redis 6.2 cannot read. They stay as they are: start Redis 7.0 or a newer one" in done.stderr
    assert redis_data.problem(done.stderr).startswith("Redis cannot start: its data in")
    assert sorted(data(written).rglob("*")) == before
    assert keys(written) == OLD | NEW


@pytest.mark.skipif(os.getuid() != 0, reason="needs another user")
def test_data_of_another_user(written: Service) -> None:
    for folder in data(written).parents:  # the other one can come here
        if folder.stat().st_uid == 0 and folder not in (Path("/"), Path("/tmp")):
            folder.chmod(0o755)
    data(written).chmod(0o755)
    done = run(written, "check", user=65_534, group=65_534)
    assert done.returncode == 1, done.stderr
    assert "belong to user 0, and this one is 65534. To correct that: make repair" in done.stderr
    done = run(written, "repair", user=65_534, group=65_534)
    assert done.returncode == 1
    assert "To correct that: sudo chown -R 65534" in done.stderr
    assert run(written, "repair", environment={"REDIS_OWNER": "65534"}).returncode == 0
    assert run(written, "check", user=65_534, group=65_534).returncode == 0


def test_a_newer_format(written: Service) -> None:
    """As Redis itself tells it, where nothing says which one has written the data."""
    (data(written) / "written-by").unlink()
    file = part(written, "base.rdb")
    file.write_bytes(b"REDIS0099" + file.read_bytes()[9:])
    said = refusal(written)
    assert said.startswith("The data of Redis were written by a newer version, and stay as they are")


def test_no_message_advises_to_delete(written: Service) -> None:
    for pattern in ("commands/**/*.py", "denzel/**/*.py", "entrypoints/*"):
        for path in written.project.glob(pattern):
            text = path.read_text(encoding="utf-8")
            assert "rm -r {" not in text, path
            assert "rm -r .denzel" not in text, path


def test_ready_names_the_cause(new_service: Callable[..., Service]) -> None:
    """Also where Redis ends by itself on what it has read, as soon as it is started again."""
    service = new_service()
    service.environment["REDIS_CAUSE"] = str(service.project / "cause")
    service.start("redis", "api")
    service.redis.set("key", "x" * 3000)
    service.stop("redis")
    assert service.ready()["reason"].startswith("Redis does not answer")
    with part(service, "incr.aof").open("ab") as file:
        file.write(bytes(5000))
    refusal(service)
    assert "end in zeros, as after a power cut" in service.ready()["reason"]
    assert "make repair" in service.ready()["reason"]
    assert run(service, "repair").returncode == 0
    service.start("redis")
    assert service.ready()["reason"] == "no worker has come up yet"
    service.stop("redis")
    file = part(service, "incr.aof")
    file.write_bytes(b"damaged" + file.read_bytes())
    refusal(service)
    refusal(service)
    assert service.ready()["reason"] == f"The data of Redis are damaged. {redis_data.REPAIR}"
    service.stop("api")
