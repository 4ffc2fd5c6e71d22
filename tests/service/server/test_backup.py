"""`make backup` and `make restore` of a Redis without containers: of one moment, whole, and without a task lost."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from commands.shared import backup_file, snapshot
from commands.shared.project import CommandError
from tests.support.services import Service
from tests.support.waiting import eventually


@pytest.fixture
def new(new_service: Callable[..., Service]) -> Callable[..., Service]:
    """Call it: a service whose Redis has its data where `make dev` has them, and whose identity `.env` tells."""

    def create(**settings: str) -> Service:
        service = new_service(**settings)
        data(service).mkdir(parents=True)
        service.environment["REDIS_DIR"] = str(data(service))
        service.environment["PROJECT_ID"] = identity(service)
        return service

    return create


def data(service: Service) -> Path:
    return service.project / ".denzel/redis"


def identity(service: Service) -> str:
    found = re.search(r"^PROJECT_ID=(.*)$", (service.project / ".env").read_text(), re.MULTILINE)
    assert found
    return found[1]


def run(service: Service, *words: str) -> subprocess.CompletedProcess[str]:
    """A command of the project."""
    return subprocess.run(
        [sys.executable, "commands", *words],
        cwd=service.project, env=service.environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def done(service: Service, *words: str) -> str:
    ended = run(service, *words)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def refusal(service: Service, *words: str) -> str:
    ended = run(service, *words)
    assert ended.returncode == 1, ended.stdout
    return ended.stderr


def stop(service: Service, *names: str) -> None:
    for name in names or ("api", "denzel", "redis"):
        service.stop(name)


def backed_up(service: Service) -> Path:
    """The backup of a service that has stopped."""
    done(service, "backup", "OF=dev", "FILE=backup.zip")
    return service.project / "backup.zip"


def test_no_task_is_lost(new: Callable[..., Service]) -> None:
    """Neither one that waits nor one that runs at that moment, though everything else is gone."""
    service = new()
    service.start("redis", "api", "denzel")
    service.wait_ready()
    first = service.submit({"predict": "note('begun') or wait_for('go') and {}"})
    eventually(lambda: service.events("begun"), "it runs")
    others = [service.submit({"predict": f"{{'number': {number}}}"}) for number in range(5)]
    about = backup_file.About("tested", identity(service), "2026-01-31 12:30:00 UTC")
    path = service.project / "running.zip"
    backup_file.write(path, about, snapshot.of_server(service.redis_url))
    later = service.submit({"predict": "{}"})
    service.kill("denzel")
    stop(service, "api", "redis")
    shutil.move(data(service), service.project / "gone")

    said = done(service, "restore", f"FILE={path}", "OF=dev")
    assert "The data are those of 2026-01-31 12:30:00 UTC again" in said
    (service.project / "go").touch()
    service.start("redis", "api", "denzel")
    for task_id in (first, *others):
        assert service.wait(task_id, 40)["status"] == "SUCCESS"
    assert service.get(f"/status/{later}").status_code == 404, "what came after the backup is not in it"


def test_what_was_there_stays_beside(new: Callable[..., Service]) -> None:
    service = new()
    service.start("redis")
    service.redis.set("kept", "1")
    stop(service, "redis")
    path = backed_up(service)
    assert path.stat().st_mode & 0o777 == 0o600
    told = json.loads(zipfile.ZipFile(path).read("about.json"))
    assert told["project"] == "tested"
    assert told["identity"] == identity(service)
    assert told["redis"].startswith(("Redis ", "Valkey "))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", told["moment"])

    service.start("redis")
    service.redis.delete("kept")
    service.redis.set("later", "1")
    stop(service, "redis")
    assert "What was there before is in before-restore-" in done(service, "restore", "FILE=backup.zip", "OF=dev")
    [before] = data(service).glob("before-restore-*")
    service.start("redis")
    assert service.redis.keys() == [b"kept"]
    stop(service, "redis")
    service.environment["REDIS_DIR"] = str(before)
    service.start("redis")
    assert service.redis.keys() == [b"later"]
    stop(service, "redis")


def test_it_is_of_one_moment(new: Callable[..., Service]) -> None:
    """Two keys that change together are equal in a backup that is made meanwhile."""
    service = new()
    service.start("redis")
    service.redis.set("large", "x" * 30_000_000)
    ended = threading.Event()

    def write() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            service.redis.mset({"one": number, "two": number})

    writer = threading.Thread(target=write)
    writer.start()
    try:
        eventually(lambda: service.redis.get("two"), "it writes")
        before = int(service.redis.get("one"))
        about = backup_file.About("tested", identity(service), "")
        backup_file.write(service.project / "b.zip", about, snapshot.of_server(service.redis_url))
    finally:
        ended.set()
        writer.join()
    stop(service, "redis")
    done(service, "restore", "FILE=b.zip", "OF=dev")
    service.start("redis")
    assert service.redis.get("one") == service.redis.get("two")
    assert int(service.redis.get("one")) >= before
    stop(service, "redis")


def test_another_projects_is_taken_only_if_that_is_meant(new: Callable[..., Service]) -> None:
    other = new(PROJECT_SLUG="other: a/b")
    env = other.project / ".env"
    env.write_text(env.read_text() + "\nPROJECT_SLUG='other: a/b'\n")
    other.start("redis", "api")
    task_id = other.submit({"predict": "{}"})
    stop(other, "api", "redis")
    path = backed_up(other)

    service = new()
    text = (service.project / ".env").read_text()
    (service.project / ".env").write_text(text.replace(identity(service), "another-identity"))
    service.environment["PROJECT_ID"] = "another-identity"
    said = refusal(service, "restore", f"FILE={path}", "OF=dev")
    assert f"This backup is of another project: other: a/b with PROJECT_ID={identity(other)}" in said
    assert "FORCE=1" in said
    assert not list(data(service).iterdir())
    done(service, "restore", f"FILE={path}", "OF=dev", "FORCE=1")
    service.start("redis", "api", "denzel")
    assert service.wait(task_id)["status"] == "SUCCESS"
    assert not [key for key in service.redis.scan_iter() if b"other%3A" in key]
    stop(service)


def test_what_cannot_be_read_changes_nothing(new: Callable[..., Service], tmp_path: Path) -> None:
    service = new()
    service.start("redis")
    service.redis.set("kept", "x" * 5000)
    stop(service, "redis")
    path = backed_up(service)
    before = sorted(data(service).rglob("*"))
    content = path.read_bytes()
    (service.project / "cut.zip").write_bytes(content[:-500])
    changed = bytearray(content)
    changed[60] ^= 0xFF
    (service.project / "changed.zip").write_bytes(changed)
    for name in ("cut.zip", "changed.zip", ".env"):
        assert "is no backup, or it is damaged" in refusal(service, "restore", f"FILE={name}", "OF=dev")
    for at in (*range(200), *range(len(content) - 300, len(content))):  # whatever byte it is
        changed = bytearray(content)
        changed[at] ^= 0xFF
        (service.project / "changed.zip").write_bytes(changed)
        with suppress(CommandError):  # some do not matter, as a time of day
            backup_file.read(service.project / "changed.zip")
    about = backup_file.About("tested", identity(service), "")
    good = b"".join(backup_file.data(path))
    for name, text, reason in (
        ("newer.zip", good.replace(good[:9], b"REDIS0099"), "of a newer version than"),
        ("damaged.zip", good[:100] + b"\0\1\2\3" + good[104:], "the data of the backup are damaged"),
    ):
        backup_file.write(service.project / name, about, [text])
        assert reason in refusal(service, "restore", f"FILE={name}", "OF=dev")
    newer = tmp_path / "redis-server"
    newer.write_text('#!/bin/sh\n[ "$1" = --version ] || exit 9\necho "Redis server v=6.2.14 sha=0:0"\n')
    newer.chmod(0o755)
    path_before = service.environment["PATH"]
    service.environment["PATH"] = f"{tmp_path}:{path_before}"
    said = refusal(service, "restore", "FILE=backup.zip", "OF=dev")
    assert "which Redis 6.2 cannot read. Nothing is changed" in said
    service.environment["PATH"] = path_before
    assert sorted(data(service).rglob("*")) == before
    service.start("redis")
    assert service.redis.get("kept") == b"x" * 5000
    stop(service, "redis")


def test_a_restore_that_was_interrupted_is_ended_at_the_next_start(new: Callable[..., Service]) -> None:
    """Between two of its steps there is nothing to read: an empty Redis would be a loss."""
    service = new()
    service.start("redis")
    service.redis.set("kept", "1")
    stop(service, "redis")
    path = backed_up(service)
    (data(service) / "backup-to-restore").write_bytes(b"".join(backup_file.data(path)))
    shutil.move(data(service) / "appendonlydir", data(service) / "before-restore-1")
    service.start("redis")
    assert service.redis.keys() == [b"kept"]
    stop(service, "redis")


def test_a_backup_that_breaks_off_leaves_no_file(tmp_path: Path) -> None:
    about = backup_file.About("tested", "", "")
    with pytest.raises(CommandError, match="not whole"):
        backup_file.write(tmp_path / "b.zip", about, [b"REDIS0010\xfa\x09redis-ver\x067.0.15"])
    with pytest.raises(CommandError, match="broke off"):
        backup_file.write(tmp_path / "b.zip", about, snapshot.until_mark([b"REDIS", b"x" * 60], b"m" * 40))
    with pytest.raises(CommandError, match="could not be written"):
        backup_file.write(tmp_path / "missing/b.zip", about, [])
    assert not list(tmp_path.iterdir())


def test_where_there_is_nothing_it_says_so(new: Callable[..., Service]) -> None:
    service = new()
    assert "Must pass FILE=..." in refusal(service, "restore")
    assert "No such file" in refusal(service, "restore", "FILE=missing.zip", "OF=dev")
    assert "OF must be one of" in refusal(service, "backup", "OF=everything")
