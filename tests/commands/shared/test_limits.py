"""What containers may take of a machine, where `.env` leaves it open; and which limits are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands.containers import checks
from commands.shared import limits
from commands.shared.project import CommandError

GIB = 1 << 30


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two cores and four gigabytes, a bit less as they all have."""
    monkeypatch.setattr(limits, "machine", lambda: limits.Machine(4 * GIB - (100 << 20), 2))


@pytest.mark.usefixtures("small")
def test_what_is_open_fits_the_machine(env_file: Path) -> None:
    env_file.write_text("API_MEMORY_LIMIT=\n")
    found = limits.defaults()
    assert found == {
        "API_MEMORY_LIMIT": "1024m",
        "API_CPU_LIMIT": "2",
        "DENZEL_MEMORY_LIMIT": "2944m",
        "DENZEL_CPU_LIMIT": "2",
        "DENZEL_PIDS_LIMIT": "4096",
        "REDIS_MEMORY_LIMIT": "1984m",
        "REDIS_CPU_LIMIT": "2",
        "REDIS_MAXMEMORY": "992mb",
        "MONITOR_MEMORY_LIMIT": "960m",
        "MONITOR_CPU_LIMIT": "1",
        "OTHERS_MEMORY_LIMIT": "960m",
        "OTHERS_CPU_LIMIT": "2",
    }


@pytest.mark.usefixtures("small")
def test_what_env_says_counts(env_file: Path) -> None:
    env_file.write_text("DENZEL_MEMORY_LIMIT=1g\nDENZEL_CPU_LIMIT=0\nREDIS_PIDS_LIMIT=50\n")
    assert not {"DENZEL_MEMORY_LIMIT", "DENZEL_CPU_LIMIT"} & set(limits.defaults())
    lines = limits.described().splitlines()
    assert "denzel: 1g of memory, all cores, 4096 processes" in lines
    assert "redis: 1984m of memory, 2 cores, 50 processes, 992mb of data (REDIS_MAXMEMORY)" in lines


@pytest.mark.usefixtures("small")
def test_the_model_has_its_room_where_it_is_in_the_api(env_file: Path) -> None:
    env_file.write_text("EXECUTOR=inline\n")
    assert limits.defaults()["API_MEMORY_LIMIT"] == "2944m"


@pytest.mark.usefixtures("small")
def test_redis_is_not_ended_before_it_is_full(env_file: Path) -> None:
    env_file.write_text("REDIS_MAXMEMORY=2gb\n")
    assert limits.size(limits.defaults()["REDIS_MEMORY_LIMIT"]) > 3 * GIB


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("lines", "data"),
    [
        ("REDIS_MEMORY_LIMIT=512m", "256mb"),
        ("REDIS_MEMORY_LIMIT=64m", "32mb"),
        ("REDIS_MEMORY_LIMIT=0", "992mb"),  # a quarter of the machine's
        ("REDIS_MAXMEMORY=", "992mb"),
        ("REDIS_MAXMEMORY=300mb", "300mb"),
        ("REDIS_MAXMEMORY=0", "0"),
    ],
)
def test_redis_may_hold_half_of_what_its_container_may_take(env_file: Path, lines: str, data: str) -> None:
    env_file.write_text(f"{lines}\n")
    assert limits.in_force()["REDIS_MAXMEMORY"] == data
    assert ("REDIS_MAXMEMORY" in limits.defaults()) is ("REDIS_MAXMEMORY=" not in lines or lines.endswith("="))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("lines", "is_told"),
    [
        ("", False),
        ("REDIS_MAXMEMORY=2gb", False),
        ("REDIS_MAXMEMORY=0", True),
        ("REDIS_MAXMEMORY=0\nREDIS_MEMORY_LIMIT=0", False),
        ("REDIS_MAXMEMORY=2gb\nREDIS_MEMORY_LIMIT=1g", True),
    ],
)
def test_a_redis_that_is_ended_before_it_is_full_is_told(env_file: Path, lines: str, is_told: bool) -> None:
    env_file.write_text(f"{lines}\n")
    assert bool(limits.redis_note()) is is_told
    assert not is_told or limits.redis_note().startswith("REDIS_MAXMEMORY is ")


@pytest.mark.usefixtures("small")
def test_data_that_the_machine_has_no_memory_for_are_told(env_file: Path) -> None:
    env_file.write_text("REDIS_MAXMEMORY=5gb\n")
    assert limits.too_large() == ["REDIS_MAXMEMORY"]


@pytest.mark.parametrize(
    ("files", "data"),
    [
        ({}, "992mb"),
        ({"memory.max": "max\n"}, "992mb"),
        ({"memory.max": "1073741824\n"}, "256mb"),
        ({"memory/memory.limit_in_bytes": "1073741824\n"}, "256mb"),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, "992mb"),
    ],
)
def test_make_dev_has_a_quarter_of_the_memory_that_there_is(
    env_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], data: str
) -> None:
    monkeypatch.setattr(limits, "_CGROUP", tmp_path)
    sizes = {"SC_PHYS_PAGES": (4 * GIB - (100 << 20)) // 4096, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(limits.os, "sysconf", sizes.__getitem__)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    env_file.write_text("REDIS_MAXMEMORY=\n")
    assert limits.data_of_dev() == data
    env_file.write_text("REDIS_MAXMEMORY=100mb\n")
    assert limits.data_of_dev() == "100mb"


def test_without_docker_nothing_is_invented(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env_file.write_text("")
    monkeypatch.setattr(limits, "machine", lambda: None)
    assert limits.defaults() == {}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("API_MEMORY_LIMIT=2x", "API_MEMORY_LIMIT must be at least 64m"),
        ("API_MEMORY_LIMIT=10m", "API_MEMORY_LIMIT must be at least 64m"),
        ("DENZEL_CPU_LIMIT=3", "DENZEL_CPU_LIMIT is 3, but Docker has 2 cores here"),
        ("DENZEL_CPU_LIMIT=-1", "DENZEL_CPU_LIMIT must be a number of cores"),
        ("REDIS_PIDS_LIMIT=many", "REDIS_PIDS_LIMIT must be a number of processes"),
    ],
)
def test_what_docker_would_refuse_is_told_before(env_file: Path, line: str, said: str) -> None:
    env_file.write_text(f"{line}\n")
    with pytest.raises(CommandError, match=said):
        checks.limits_are_right()
