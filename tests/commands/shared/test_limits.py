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
    assert "redis: 1984m of memory, 2 cores, 50 processes" in lines


@pytest.mark.usefixtures("small")
def test_the_model_has_its_room_where_it_is_in_the_api(env_file: Path) -> None:
    env_file.write_text("EXECUTOR=inline\n")
    assert limits.defaults()["API_MEMORY_LIMIT"] == "2944m"


@pytest.mark.usefixtures("small")
def test_redis_is_not_ended_before_it_is_full(env_file: Path) -> None:
    env_file.write_text("REDIS_MAXMEMORY=2gb\n")
    assert limits.size(limits.defaults()["REDIS_MEMORY_LIMIT"]) > 3 * GIB


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
