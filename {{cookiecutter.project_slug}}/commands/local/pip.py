"""Running pip in `.venv`, showing what it is at."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
import time

from commands.local.venv import VENV, into_venv
from commands.shared import package_index
from commands.shared.project import MARKERS, ROOT, CommandError
from commands.shared.screen import say

LOG = MARKERS / "install.log"  # pip's whole output


def pip_install(requirements: list[str], into: list[str] | None = None) -> None:
    """Run pip install, showing what it is at; its whole output goes to the log.

    Args:
        requirements: what to install, as pip's options and requirements.
        into: pip's options for the place, where that is not `.venv`.

    Raises:
        CommandError: it failed; the text ends with pip's own last lines.
    """
    command = [
        # resolved: pip writes this path into the programs of bin/, and a link to the folder may go before it
        str(VENV.resolve() / "bin" / "python"),
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "install",
        "--progress-bar=off",
        *(into_venv() if into is None else into),
        "--no-compile",  # half the time; what is used is compiled when it is first imported
        *requirements,
    ]
    with LOG.open("a", encoding="utf-8") as log, _PipProgress() as progress:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=package_index.pip_environment(),  # with a PYTHONPATH, pip would take what lies there for installed
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert process.stdout
        last: list[str] = []
        try:
            for line in process.stdout:
                log.write(line)
                last = [*last[-39:], line.rstrip()]
                progress.show(line.strip())
            code = process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if code:
        # From where pip begins to say why; the last lines are of little use by themselves.
        begins = [number for number, line in enumerate(last) if re.match(r"\s*(ERROR|error|×)", line)]
        text = "\n".join(line for line in last[min([*begins, max(0, len(last) - 12)]) :] if line)
        advice = package_index.advice("\n".join(last))
        raise CommandError(
            f"{text}\npip failed; its whole output is in {LOG.relative_to(ROOT)}" + (f"\n{advice}" if advice else "")
        )


class _PipProgress:
    """What pip is at: on a terminal one line that changes and counts the seconds, else a line each."""

    _STEPS = (
        (re.compile(r"Collecting (\S+)"), "Looking up {}", False),
        (re.compile(r"(?:Downloading|Using cached) (\S+?)-\d\S* (\(.*\))"), "Downloading {} {}", True),
        (re.compile(r"Processing (?:\S*/)?(\S+?)-\d\S*\.whl"), "Taking {} from this machine", True),
        (re.compile(r"Building wheel for (\S+) .*: started"), "Building {}", True),
        (re.compile(r"Installing collected packages: (.*)"), "Installing {} packages", True),
    )

    def __enter__(self) -> _PipProgress:
        self._started = time.monotonic()
        self._text = "Starting pip"
        self._live = sys.stdout.isatty()
        self._over = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)
        if self._live:
            self._ticker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._live:
            self._ticker.join()
            sys.stdout.write("\r\033[K")
            sys.stdout.flush()

    def show(self, line: str) -> None:
        """Take a line of pip's output."""
        for pattern, text, worth_a_line in self._STEPS:
            if match := pattern.match(line):
                parts = list(match.groups())
                if "packages" in text:
                    parts = [str(len(parts[0].split(",")))]
                self._text = text.format(*parts)
                if worth_a_line and not self._live:
                    say(f"  {self._text}")

    def _tick(self) -> None:
        while not self._over.wait(0.2):
            width = shutil.get_terminal_size().columns
            seconds = f"{time.monotonic() - self._started:3.0f} s  "
            sys.stdout.write("\r\033[K" + f"  {seconds}{self._text}"[: width - 1])
            sys.stdout.flush()
