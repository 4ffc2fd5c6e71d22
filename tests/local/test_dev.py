"""`make dev` with small stand-ins for the services: how it starts, keeps, shows and above all ends processes."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.local.running import Dev, dev, free_ports, make
from tests.support.processes import command_line
from tests.support.waiting import eventually

# Does what its words say, then sleeps.
STAND_IN = """
import os, signal, subprocess, sys, time
name, *words = sys.argv[1:]
forever = [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"]
for word in words:
    if word == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if word == "daemon":  # leaves its family
        subprocess.Popen(forever, start_new_session=True)
    if word == "nameless":  # has lost its environment, as with setproctitle
        subprocess.Popen(forever, env={"PATH": os.environ["PATH"]})
    if word == "environment":
        for variable in sorted(os.environ):
            print(f"{variable}={os.environ[variable]}")
    if word == "talk":
        for number in range(120_000):
            print(f"{number:06} " + "x" * 93)
        open("talked", "w").close()
    if word == "crash":
        print("these are my last words")
        sys.exit(3)
print(f"{name} is up", flush=True)
time.sleep(600)
"""


def procfile(project: Path, **services: str) -> None:
    """Replace services of the Procfile by stand-ins that do what the words say."""
    words = {"api": "", "denzel": "", "monitor": ""} | services
    lines = [f"{name}: python3 stand_in.py {name} {word}" for name, word in words.items()]
    (project / "Procfile").write_text("\n".join(["redis: sh entrypoints/redis.sh", *lines]) + "\n")
    (project / "stand_in.py").write_text(STAND_IN)


def write_settings(project: Path, **settings: str) -> None:
    """Give settings of .env other values."""
    path = project / ".env"
    lines = [line for line in path.read_text().splitlines() if line.partition("=")[0] not in settings]
    path.write_text("\n".join([*lines, *(f"{name}={value}" for name, value in settings.items())]) + "\n")


def wait_until_up(running: Dev) -> None:
    for name in ("api", "denzel", "monitor"):
        running.wait_for(f"{name} is up")
    running.processes()


class Terminal:
    """A terminal window: closing it is what a user does."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()

    def close(self) -> None:
        os.close(self.slave)
        os.close(self.master)


def end_by(way: str, running: Dev) -> None:
    pid = running.make.pid
    if way == "Ctrl-C":  # reaches the whole process group of the terminal
        os.killpg(pid, signal.SIGINT)
    elif way == "SIGTERM to make":
        os.kill(pid, signal.SIGTERM)
    elif way == "SIGHUP of a closed terminal":
        os.killpg(pid, signal.SIGHUP)
    elif way == "kill -9 of dev":
        os.kill(running.child(" commands dev"), signal.SIGKILL)
    elif way == "kill -9 of make":
        os.kill(pid, signal.SIGKILL)
    else:
        assert way == "kill -9 of both"
        os.killpg(pid, signal.SIGKILL)


WAYS = (
    "Ctrl-C",
    "SIGTERM to make",
    "SIGHUP of a closed terminal",
    "kill -9 of dev",
    "kill -9 of make",
    "kill -9 of both",
)


@pytest.mark.parametrize("way", WAYS)
def test_nothing_survives_however_it_ends(plain: Path, way: str) -> None:
    procfile(plain, api="stubborn", denzel="daemon stubborn nameless")
    with dev(plain, *free_ports()) as running:
        wait_until_up(running)
        assert sum("time.sleep(600)" in line for line in running.processes().values()) == 2
        started = time.monotonic()
        end_by(way, running)
        running.assert_gone(5.0)
        assert time.monotonic() - started < 5.0


def test_the_services_are_descendants_of_make(plain: Path) -> None:
    procfile(plain)
    with dev(plain, *free_ports()) as running:
        wait_until_up(running)
        lines = list(running.processes().values())
        for program in ("redis-server", "stand_in.py api", "stand_in.py denzel", "stand_in.py monitor"):
            assert sum(program in line for line in lines) == 1, lines


def test_a_killed_one_can_be_started_again_at_once(plain: Path) -> None:
    procfile(plain, denzel="stubborn")
    ports = free_ports()
    with dev(plain, *ports) as first:
        wait_until_up(first)
        os.kill(first.child(" commands dev"), signal.SIGKILL)
        first.make.wait(5)
        with dev(plain, *ports) as second:
            wait_until_up(second)
        assert not first.survivors()


def test_a_signal_during_the_start_stops_it(plain: Path) -> None:
    procfile(plain)
    for pause in (0.1, 0.3, 0.5, 0.7):
        with dev(plain, *free_ports()) as running:
            time.sleep(pause)
            running.processes()
            os.killpg(running.make.pid, signal.SIGINT)
            running.assert_gone()


def test_a_stop_is_no_failure(plain: Path) -> None:
    procfile(plain)
    with dev(plain, *free_ports()) as running:
        wait_until_up(running)
        os.kill(running.child(" commands dev"), signal.SIGTERM)
        assert running.make.wait(5) == 0
        assert running.text().splitlines()[-1] == "dev     | Stopped."


# ------------------------------------------------------------------------------------------- what it says


def test_a_service_that_dies_is_reported_and_started_again(plain: Path) -> None:
    procfile(plain, api="crash")
    with dev(plain, *free_ports()) as running:
        running.wait_for("Starting api again in 2 s")
        text = running.text()
        assert re.search(r"dev     \| api ended \(exit code 3\) after 0 s. Its last lines:", text)
        assert "dev     |     these are my last words" in text
        assert "dev     | Starting api again in 1 s" in text
        assert text.count("api     | these are my last words") == 2
        assert running.make.poll() is None, "the others go on"


def test_what_a_killed_service_leaves_does_not_stand_in_its_way(plain: Path) -> None:
    procfile(plain, denzel="nameless")
    with dev(plain, *free_ports()) as running:
        wait_until_up(running)
        left = running.child("time.sleep(600)")
        os.kill(running.child("stand_in.py denzel"), signal.SIGKILL)
        running.wait_for("denzel ended (SIGKILL)")
        assert not command_line(left)
        eventually(lambda: running.text().count("denzel is up") == 2, running.text, 10)


def test_a_redis_that_does_not_start_ends_everything(plain: Path) -> None:
    procfile(plain)
    text = (plain / "Procfile").read_text()
    (plain / "Procfile").write_text(text.replace("sh entrypoints/redis.sh", "sh -c 'echo this data is bad; exit 1'"))
    with dev(plain, *free_ports()) as running:
        assert running.make.wait(20) == 2
        assert "redis   | this data is bad" in running.text()
        assert re.search(r"dev     \| Redis \S+ does not start, see above\.\n", running.text())
        running.assert_gone()


def test_it_says_where_it_is_while_it_runs(plain: Path) -> None:
    procfile(plain)
    api, monitor = (word.partition("=")[2] for word in free_ports())
    with dev(plain, f"API_PORT={api}", f"MONITOR_PORT={monitor}") as running:
        wait_until_up(running)
        marker = json.loads(running.marker.read_text())
        assert marker["pid"] == running.child(" commands dev")
        assert marker["api_url"] == f"http://127.0.0.1:{api}"
        assert marker["monitor_url"] == f"http://127.0.0.1:{monitor}"
        assert re.fullmatch(r"redis://:\w+@127\.0\.0\.1:\d+/0", marker["redis_url"])
        assert stat.S_IMODE(running.marker.stat().st_mode) == 0o600

        refused = make(plain, "dev", *free_ports())
        assert refused.returncode == 2
        assert refused.stderr.splitlines()[0] == (
            f"make dev runs in this folder already (pid {marker['pid']}, {marker['api_url']}). "
            "Stop it by Ctrl-C in its terminal."
        )
        password = marker["redis_url"].split(":")[2].split("@")[0]
        assert not any(password in line for line in running.processes().values()), "no secret among the arguments"


def test_the_log_is_bounded_and_prefixed(plain: Path) -> None:
    procfile(plain, denzel="talk")
    with dev(plain, *free_ports()):
        log = plain / ".denzel" / "dev.log"  # of what it prints, some is left out when there is too much
        eventually(lambda: log.exists() and "denzel is up" in log.read_text(), "it is up", 60)
        sizes = [file.stat().st_size for file in (log, log.with_name("dev.log.1"))]
        assert all(0 < size <= 5_000_000 for size in sizes)
        assert not log.with_name("dev.log.2").exists()
        assert all(re.match(r"(api|denzel|dev|monitor|redis) +\| ", line) for line in log.read_text().splitlines())
        assert "denzel  | 119999 xxx" in log.read_text()


def test_a_terminal_that_does_not_read_holds_nobody_up(plain: Path) -> None:
    procfile(plain, denzel="talk")
    terminal = Terminal()
    running = Dev(plain, *free_ports(), terminal=terminal.slave)
    try:
        eventually((plain / "talked").exists, "the service talks without waiting for the terminal", 30)
        eventually(lambda: "denzel is up" in (plain / ".denzel" / "dev.log").read_text(), "it is up", 10)
        running.processes()
        os.kill(running.make.pid, signal.SIGTERM)
        running.assert_gone()
    finally:
        running.end()
        terminal.close()


def test_a_closed_terminal_stops_everything(plain: Path) -> None:
    procfile(plain)
    terminal = Terminal()
    running = Dev(plain, *free_ports(), terminal=terminal.slave)
    try:
        log = plain / ".denzel" / "dev.log"
        eventually(lambda: log.exists() and log.read_text().count(" is up") == 3, "all three are up", 30)
        running.processes()
        terminal.close()
        # without a shell the session has nobody who passes the hangup on
        os.killpg(running.make.pid, signal.SIGHUP)
        running.assert_gone()
    finally:
        running.end()


# ------------------------------------------------------------------------------------- settings and ports


def test_the_services_get_the_settings(plain: Path) -> None:
    procfile(plain, denzel="environment")
    write_settings(plain, MAX_WAIT="33")
    with dev(plain, *free_ports(), LOG_LEVEL="debug", MAKEFLAGS="--no-print-directory") as running:
        running.wait_for("denzel is up")
        variables = dict(re.findall(r"(?m)^denzel  \| (\w+)=(.*)$", running.text()))
        assert variables["MAX_WAIT"] == "33", "from .env"
        assert variables["LOG_LEVEL"] == "info", "from .env, whatever the shell has"
        assert variables["PROJECT_SLUG"] == "empty"
        assert variables["API_BIND"].startswith("127.0.0.1:")
        assert variables["PATH"].startswith(f"{plain}/.venv/bin:")
        assert variables["REDIS_URL"] == json.loads(running.marker.read_text())["redis_url"]
        assert not {"MAKEFLAGS", "MAKELEVEL"} & set(variables)


def test_a_redis_of_ones_own_is_used(plain: Path) -> None:
    procfile(plain, denzel="environment")
    url = "redis://:secret@127.0.0.1:1/5"
    write_settings(plain, REDIS_URL=url)
    with dev(plain, *free_ports()) as running:
        wait_until_up(running)
        assert f"denzel  | REDIS_URL={url}" in running.text()
        assert "Starting api, denzel, monitor" in running.text()
        assert json.loads(running.marker.read_text())["redis_url"] == url


def test_the_status_knows_a_redis_on_a_unix_socket(plain: Path) -> None:
    procfile(plain)
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, socket.socket(socket.AF_UNIX) as redis:
        path = f"{folder}/a redis"  # short: the name of a socket may have about a hundred characters
        write_settings(plain, REDIS_URL=f"unix://{quote(path)}")
        with dev(plain, *free_ports()) as running:
            wait_until_up(running)
            assert "redis - LOADING..." in make(plain, "status").stdout
            redis.bind(path)
            redis.listen()
            assert "redis - UP" in make(plain, "status").stdout


def test_the_inline_executor_needs_the_api_alone(plain: Path) -> None:
    procfile(plain)
    write_settings(plain, EXECUTOR="inline")
    with dev(plain, *free_ports()) as running:
        running.wait_for("api is up")
        assert "Starting api (" in running.text()
        assert not any("redis-server" in line or "py denzel" in line for line in running.processes().values())


@contextlib.contextmanager
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize("variable", ["API_PORT", "MONITOR_PORT"])
def test_a_taken_port_is_named_with_its_variable(plain: Path, variable: str) -> None:
    words = dict(word.split("=") for word in free_ports())
    with taken_port() as number:
        words[variable] = str(number)
        done = make(plain, "dev", *(f"{name}={value}" for name, value in words.items()))
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == (
        f"Port {number} is already taken! Pass an available one: make dev {variable}={number + 1}"
    )
    assert not (plain / ".denzel" / "dev.json").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["API_PORT=x"], "API_PORT must be a port number from 1 to 65535, not 'x'."),
        (["MONITOR_PORT=65536"], "MONITOR_PORT must be a port number from 1 to 65535, not '65536'."),
        (["API_PORT=4000", "MONITOR_PORT=4000"], "API_PORT and MONITOR_PORT are both 4000: they must differ."),
        (["PORT=4000"], "This command does not know the variable PORT: it takes API_PORT, MONITOR_PORT."),
    ],
)
def test_a_wrong_value_gets_one_line(plain: Path, words: list[str], message: str) -> None:
    done = make(plain, "dev", *words)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == message


def test_wrong_settings_start_nothing(plain: Path) -> None:
    write_settings(plain, MAX_QUEUE="abc")
    done = make(plain, "dev", *free_ports())
    assert done.returncode == 2
    assert done.stderr.splitlines()[:2] == [
        "Wrong settings (correct them in .env):",
        "  MAX_QUEUE is 'abc': expected a whole number from 1 to 1000000000",
    ]


def test_a_folder_that_programs_take_apart_is_refused(plain: Path) -> None:
    renamed = plain.rename(plain.with_name("a:b"))
    done = make(renamed, "dev", *free_ports())
    assert done.returncode == 2
    assert "has a ':' in its path, which programs take apart: rename it." in done.stderr


@pytest.mark.parametrize("command", ["dev", "test"])
def test_a_file_that_hides_a_package_is_refused(installed: Path, command: str) -> None:
    hiding = installed / "redis.py"
    hiding.touch()
    try:
        done = make(installed, command, *(free_ports() if command == "dev" else []), timeout=30)
    finally:
        hiding.unlink()
    assert done.returncode == 2
    assert "redis.py in the project's folder hides the Python module 'redis', which is needed" in done.stderr


def test_folder_and_password_may_hold_any_other_sign(plain: Path) -> None:
    renamed = plain.rename(plain.with_name('it\'s "quoted" \\ $HOME `x` ü'))
    procfile(renamed)
    write_settings(renamed, REDIS_PASSWORD='a"b\\c')
    with dev(renamed, *free_ports()) as running:
        wait_until_up(running)


def test_commands_for_containers_say_that_it_runs_without(plain: Path) -> None:
    procfile(plain)
    with dev(plain, *free_ports()) as running:
        wait_until_up(running)
        for command in ("stop", "start"):
            done = make(plain, command)
            assert done.returncode == 2
            assert done.stderr.startswith('"make dev" runs the services here, not containers: it takes up')


def test_an_open_api_is_warned_about(plain: Path) -> None:
    procfile(plain, denzel="environment")
    write_settings(plain, API_HOST="0.0.0.0", API_OPEN="yes")
    with dev(plain, *free_ports()) as running:
        wait_until_up(running)
        assert running.text().startswith("API_HOST=0.0.0.0: the API is open to your network, without authentication.")
        assert "denzel  | API_BIND=0.0.0.0:" in running.text()
        assert json.loads(running.marker.read_text())["api_url"].startswith("http://127.0.0.1:")
