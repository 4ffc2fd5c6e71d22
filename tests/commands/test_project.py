"""What the commands share: .env, arguments, ports, markers."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from commands.shared import arguments, env, ports, running, screen
from commands.shared.project import CommandError

# ------------------------------------------------------------------------------------------------------- .env


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("NAME=plain", "plain"),
        ("NAME = spaced out ", "spaced out"),
        ("NAME=", ""),
        ("NAME=a#b", "a#b"),
        ("NAME=value  # comment", "value"),
        ("NAME=  # comment", ""),
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


# -------------------------------------------------------------------------------------------------- arguments


def test_arguments_replace_defaults_and_empty_ones_do_not() -> None:
    allowed = {"API_PORT": "8000", "LIVE": "0"}
    assert arguments.parse_arguments(["API_PORT=", "LIVE=1"], allowed) == {"API_PORT": "8000", "LIVE": "1"}


@pytest.mark.parametrize("word", ["PORT=1", "API_PORT", "=1"])
def test_an_unknown_variable_is_answered_with_those_that_there_are(word: str) -> None:
    with pytest.raises(CommandError, match="it takes API_PORT, LIVE"):
        arguments.parse_arguments([word], {"API_PORT": "8000", "LIVE": "0"})


@pytest.mark.parametrize("value", ["0", "65536", "-1", "80a", "8 0", "", "٨٠", "1e3", "8.0"])
def test_a_port_is_a_number_from_1_to_65535(value: str) -> None:
    with pytest.raises(CommandError, match="API_PORT must be a port number from 1 to 65535"):
        arguments.port(value, "API_PORT")


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "soon", ""])
def test_a_positive_number_is_finite_and_above_zero(value: str) -> None:
    with pytest.raises(CommandError, match="TIMEOUT must be a number greater than 0"):
        arguments.positive_number(value, "TIMEOUT")


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("yes", True), ("TRUE", True), ("0", False), ("no", False)]
)
def test_a_switch_is_on_or_off(value: str, expected: bool) -> None:
    assert arguments.switch(value, "LIVE") is expected


def test_a_switch_refuses_anything_else() -> None:
    with pytest.raises(CommandError, match="LIVE must be 1 or 0, not 'maybe'"):
        arguments.switch("maybe", "LIVE")


def test_an_address_is_not_a_name() -> None:
    assert arguments.address("[::1]", "API_HOST") == "::1"
    with pytest.raises(CommandError, match=r"API_HOST must be an IP address such as 127\.0\.0\.1"):
        arguments.address("localhost", "API_HOST")


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:80"), ("0.0.0.0", "http://127.0.0.1:80"), ("::", "http://[::1]:80")],
)
def test_a_url_is_one_that_this_machine_reaches(host: str, url: str) -> None:
    assert ports.url(host, 80) == url


# ------------------------------------------------------------------------------------------------------ ports


@pytest.mark.parametrize("listening", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("wanted", ["127.0.0.1", "0.0.0.0"])
def test_a_port_is_taken_while_something_listens(listening: str, wanted: str) -> None:
    with socket.create_server((listening, 0)) as server:
        port = server.getsockname()[1]
        assert ports.port_taken(wanted, port)
    assert not ports.port_taken(wanted, port)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(CommandError, match=r"192\.0\.2\.1 is not an address of this machine"):
        ports.port_taken("192.0.2.1", 8000)


# ---------------------------------------------------------------------------------------------------- markers


@pytest.fixture
def start() -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start a Python process that has this word in its command line and runs on; none survives the test."""
    with ExitStack() as stack:

        def start(word: str) -> subprocess.Popen[str]:
            code = "import time; print(flush=True); time.sleep(60)"
            process = subprocess.Popen([sys.executable, "-c", code, word], stdout=subprocess.PIPE, text=True)
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout
            process.stdout.readline()
            return process

        yield start


def test_a_marker_counts_while_its_process_runs(tmp_path: Path, start: Callable) -> None:
    marker = tmp_path / "building.json"
    process = start("commands")
    marker.write_text(json.dumps({"pid": process.pid, "state": "x"}), encoding="utf-8")
    assert running.read_marker(marker) == {"pid": process.pid, "state": "x"}
    process.kill()
    process.wait()
    assert running.read_marker(marker) is None


def test_a_marker_of_a_stranger_that_got_the_number_does_not_count(tmp_path: Path, start: Callable) -> None:
    marker = tmp_path / "building.json"
    marker.write_text(json.dumps({"pid": start("stranger").pid}), encoding="utf-8")
    assert running.read_marker(marker) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "{}", '{"pid": "x"}'])
def test_a_broken_marker_does_not_count(tmp_path: Path, text: str) -> None:
    marker = tmp_path / "dev.json"
    marker.write_text(text, encoding="utf-8")
    assert running.read_marker(marker) is None


def test_a_marker_names_its_writer(tmp_path: Path) -> None:
    marker = tmp_path / ".denzel" / "building.json"
    running.write_marker(marker, state="PIP INSTALLING...")
    assert json.loads(marker.read_text(encoding="utf-8")) == {"pid": os.getpid(), "state": "PIP INSTALLING..."}


# ----------------------------------------------------------------------------------------------------- colour


def test_only_a_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert screen.colour("UP", "green") == "UP"
    assert screen.colour("UP", "green", Terminal()) == "\033[32mUP\033[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert screen.colour("UP", "green", Terminal()) == "UP"
