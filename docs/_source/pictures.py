"""Makes the pictures of the documentation from a running service: `make pictures`.

    make pictures                       all of them, into docs/_static
    make pictures ONLY=monitor,front    some of them, by the names below

`terminal` is a recording of the first minutes, an SVG that moves by itself; it is drawn from what real commands print,
with waiting times shortened. The others are pages of the running Iris example, as headless Chromium shows them. A page
that this version of the service does not have is left out.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import queue
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from recording import Recording

import demo

REPOSITORY = Path(__file__).resolve().parents[2]
STATIC = REPOSITORY / "docs" / "_static"

WIDTH, HEIGHT = 1200, 720  # of a page, in pixels
COLUMNS, ROWS = 100, 26  # of the terminal
TEMPLATE_URL = "gh:denzel-template/denzel-template"


@dataclass(frozen=True)
class Page:
    """A page of the service: which port it is on, its path, and whether it is shown in dark colours."""

    service: str  # api or monitor
    path: str
    dark: bool = False


PAGES = {
    "monitor": Page("monitor", "/tasks"),
    "workers": Page("monitor", "/workers"),
    "docs": Page("api", "/docs"),
    "docs_dark": Page("api", "/docs", dark=True),
    "front": Page("api", "/"),
}
# Not among those that are made when none is named: no document shows it.
ON_DEMAND = {"workers", "docs_dark"}


def main(words: list[str]) -> int:
    """Make these pictures."""
    chosen = [name for word in words for name in word.removeprefix("ONLY=").split(",") if name]
    names = chosen or ["terminal", *(name for name in PAGES if name not in ON_DEMAND)]
    if unknown := [name for name in names if name != "terminal" and name not in PAGES]:
        print(f"There is no {', '.join(unknown)}. There are: terminal, {', '.join(PAGES)}", file=sys.stderr)
        return 2
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None and names != ["terminal"]:
        print("Chromium is needed: on Debian, apt install chromium", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="denzel-pictures-", ignore_cleanup_errors=True) as folder:
        if "terminal" in names:
            record(Path(folder) / "recorded")
        if pages := [name for name in names if name in PAGES]:
            photograph(Path(folder) / "shown", pages, str(chromium))
    return 0


# --------------------------------------------------------------------------------------------- pages


def photograph(folder: Path, names: list[str], chromium: str) -> None:
    """Serve the Iris example, use it, and keep what the browser shows."""
    folder.mkdir()
    project = demo.bake(folder)
    commands = commands_of(project)
    demo.install(project, commands)
    with demo.serving(project, commands, callback_allow="127.0.0.1:9") as dev:
        use(dev["api_url"], project)
        password = commands.env.read_env()["MONITOR_PASSWORD"]
        for name in names:
            page = PAGES[name]
            host = dev[f"{page.service}_url"].removeprefix("http://")
            if not exists(f"http://{host}{page.path}", page, password):
                print(f"{name}: this version has no {page.path}; left out")
                continue
            user = f"admin:{password}@" if page.service == "monitor" else ""
            shoot(chromium, folder, f"http://{user}{host}{page.path}", STATIC / f"{name}.png", page.dark)


def commands_of(project: Path) -> SimpleNamespace:
    """The modules behind this project's make targets, whatever other project's were imported before."""
    for name in [name for name in sys.modules if name.partition(".")[0] in ("commands", "denzel")]:
        del sys.modules[name]
    return demo.project_commands(project)


def use(url: str, project: Path) -> None:
    """Some requests, so that there is something to see: answered, failed, refused."""
    example = json.loads((project / "app/assets/examples/two_flowers.json").read_text(encoding="utf-8"))["request"]
    for number in range(12):
        body = {**example, "callback_uri": "https://example.invalid/answers"} if number % 6 == 5 else example
        headers = {"Prefer": "respond-async"} if number % 2 else {}
        request = urllib.request.Request(f"{url}/predict", json.dumps(body).encode(), headers)
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(request, timeout=30).read()
    time.sleep(3)  # the monitor hears of a task a moment after it has ended


def exists(url: str, page: Page, password: str) -> bool:
    """Whether there is such a page."""
    opener = urllib.request.build_opener()
    if page.service == "monitor":
        manager = urllib.request.HTTPPasswordMgrWithPriorAuth()
        manager.add_password(None, url, "admin", password, is_authenticated=True)
        opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(manager))
    try:
        request = urllib.request.Request(url, headers={"Accept": "text/html"})
        with opener.open(request, timeout=30) as response:
            return "html" in response.headers.get("Content-Type", "")
    except urllib.error.HTTPError:
        return False


def shoot(chromium: str, folder: Path, url: str, target: Path, dark: bool) -> None:
    """Keep a page as a picture."""
    command = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--mute-audio"]
    command += [f"--user-data-dir={folder / 'browser'}", f"--window-size={WIDTH},{HEIGHT}", "--disable-dev-shm-usage"]
    command += ["--virtual-time-budget=8000", f"--screenshot={target}"]
    command += ["--force-dark-mode", "--enable-features=WebContentsForceDark"] if dark else []
    subprocess.run([*command, url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120, check=True)
    print(f"{target.relative_to(REPOSITORY)}: {target.stat().st_size // 1000} kB")


# ----------------------------------------------------------------------------------------- recording


def record(folder: Path) -> None:
    """Record the first minutes in a terminal."""
    folder.mkdir()
    recording = Recording(COLUMNS, ROWS)
    configuration = folder / "cookiecutter.yml"
    configuration.write_text(json.dumps({"replay_dir": str(folder), "cookiecutters_dir": str(folder)}))
    words = f"cookiecutter --no-input {TEMPLATE_URL}"
    recording.command(words)
    run(recording, [*cookiecutter(configuration), "--output-dir", str(folder), str(REPOSITORY)], folder)
    project = folder / "iris_classifier"
    recording.command("cd iris_classifier")
    commands = commands_of(project)
    demo.install(project, commands)

    recording.command("make dev &")
    with serving(recording, project):
        for command in (
            "make predict EXAMPLE=two_flowers",
            "make response MODE=async",
            "make predict EXAMPLE=two_flowers",
            "make status",
        ):
            recording.command(command)
            run(recording, ["make", "--no-print-directory", *command.split()[1:]], project)
    target = STATIC / "first_minutes.svg"
    target.write_text(recording.svg("The first minutes"), encoding="utf-8")
    print(f"{target.relative_to(REPOSITORY)}: {target.stat().st_size // 1000} kB")


def cookiecutter(configuration: Path) -> list[str]:
    """The command, apart from the user's own configuration of it."""
    return [sys.executable, "-m", "cookiecutter", "--no-input", "--config-file", str(configuration)]


def run(recording: Recording, command: list[str], folder: Path) -> None:
    """Run a command and record what it prints."""
    process, lines = started(command, folder)
    while (line := lines.get()) is not None:
        recording.output(shown(line, folder))
    if process.wait():
        raise SystemExit(f"{' '.join(command)} failed: exit code {process.returncode}")


@contextlib.contextmanager
def serving(recording: Recording, project: Path) -> Iterator[None]:
    """`make dev` for as long as the block lasts; what it prints until it is ready is recorded."""
    process, lines = started(["make", "--no-print-directory", "dev", *free_ports()], project)
    try:
        while (line := lines.get()) is not None:
            recording.output(shown(line, project))
            if "Ctrl-C stops everything" in line:
                break
        else:
            raise SystemExit("make dev ended by itself")
        yield
    finally:
        process.terminate()
        process.wait(30)


def free_ports() -> list[str]:
    """The usual ports where they are free, else others."""
    words = []
    for name, usual in (("API_PORT", 8000), ("MONITOR_PORT", 5555)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", usual))
            except OSError:
                probe.bind(("127.0.0.1", 0))
            words.append(f"{name}={probe.getsockname()[1]}")
    return words


def started(command: list[str], folder: Path) -> tuple[subprocess.Popen[bytes], queue.Queue[str | None]]:
    """A command in a terminal of its own, and the lines that it prints; None is the end."""
    others = {"MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "ONLY", "NO_COLOR"}
    environment = {name: value for name, value in os.environ.items() if name not in others}
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**environment, "TMPDIR": str(folder), "TERM": "xterm-256color"},
        stdin=subprocess.DEVNULL,
        stdout=its,
        stderr=its,
    )
    os.close(its)
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=relay, args=(ours, lines), daemon=True).start()
    return process, lines


def relay(terminal: int, lines: queue.Queue[str | None]) -> None:
    """Pass on what comes, so that the command never waits for a reader."""
    with os.fdopen(terminal, encoding="utf-8", errors="replace", newline="\n") as stream, contextlib.suppress(OSError):
        for line in stream:
            lines.put(line)
    lines.put(None)


def shown(line: str, folder: Path) -> str:
    """A line without what is particular to this machine."""
    line = line.replace(f"'{REPOSITORY}'", TEMPLATE_URL).replace(str(REPOSITORY), TEMPLATE_URL)
    line = re.sub(r"(password: )\S+?(\))", r"\1...\2", line)
    return line.replace(f"{folder}/", "").replace(str(folder), "~")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
