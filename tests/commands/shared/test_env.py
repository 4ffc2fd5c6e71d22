"""The settings in .env, read and changed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from commands.shared import checks, env
from commands.shared.project import CommandError


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("NAME=plain", "plain"),
        ("NAME = spaced out ", "spaced out"),
        ("NAME=", ""),
        ("NAME=a#b", "a#b"),
        ("NAME=value  # comment", "value"),
        ("NAME=  # comment", "# comment"),
        ("NAME='a # b'", "a # b"),
        ('NAME="a # b" # comment', "a # b"),
        ("export NAME=x", "x"),
        ("NAME=a=b", "a=b"),
        ("NAME=first\nNAME=second", "second"),
        ("# NAME=off\nNAME=on", "on"),
    ],
)
def test_env_is_read_as_compose_reads_it(env_file: Path, line: str, value: str) -> None:
    env_file.write_text(line + "\n", encoding="utf-8")
    assert env.read_env()["NAME"] == value


def test_the_shell_does_not_override_env(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env_file.write_text("API_PORT=8000\n", encoding="utf-8")
    monkeypatch.setenv("API_PORT", "9000")
    assert env.read_env() == {"API_PORT": "8000"}


def test_a_missing_env_is_named(env_file: Path) -> None:
    with pytest.raises(CommandError, match=r"\.env is missing"):
        env.read_env()


def test_an_env_that_cannot_be_read_is_told(env_file: Path) -> None:
    env_file.write_bytes(b"API_PORT=8000\n# caf\xe9\n")
    with pytest.raises(CommandError, match=r"\.env, line 2: this is not UTF-8 text"):
        env.read_env()
    env_file.unlink()
    env_file.mkdir()
    with pytest.raises(CommandError, match=r"\.env is a folder"):
        env.read_env()


def test_a_byte_order_mark_of_env_is_no_part_of_its_first_name(env_file: Path) -> None:
    env_file.write_bytes(b"\xef\xbb\xbfAPI_PORT=8000\n")
    assert env.read_env() == {"API_PORT": "8000"}
    env.update_env(API_PORT=9000)
    assert env_file.read_bytes() == b"API_PORT=9000\n"


def test_updating_env_changes_single_lines_and_keeps_the_rest(env_file: Path) -> None:
    env_file.write_text("# ports\nAPI_PORT=8000\n\n# secret\nPASSWORD=abc\nAPI_PORT_OLD=1\n", encoding="utf-8")
    env_file.chmod(0o600)
    env.update_env(API_PORT=9000, NEW="x y")
    assert env_file.read_text(encoding="utf-8") == (
        "# ports\nAPI_PORT=9000\n\n# secret\nPASSWORD=abc\nAPI_PORT_OLD=1\nNEW=x y\n"
    )
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
    assert [path.name for path in env_file.parent.iterdir()] == [".env"]


def test_updating_env_refuses_a_second_line(env_file: Path) -> None:
    env_file.write_text("A=1\n", encoding="utf-8")
    with pytest.raises(CommandError, match="A must be a single line"):
        env.update_env(A="1\nPASSWORD=mine")
    assert env_file.read_text(encoding="utf-8") == "A=1\n"


@pytest.mark.parametrize("zone", ["", "UTC", "Europe/Berlin", "CET-1CEST"])
def test_time_zones_that_exist(zone: str) -> None:
    checks.settings_are_right({"TZ": zone})


@pytest.mark.parametrize("zone", ["Berlin", "Europe/Berln", "../etc/passwd"])
def test_a_time_zone_that_does_not_exist_is_refused(zone: str) -> None:
    with pytest.raises(CommandError, match="there is no such time zone"):
        checks.settings_are_right({"TZ": zone})
