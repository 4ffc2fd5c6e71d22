"""Does what a page of the documentation says, in order, as its reader would.

What a block is for is told by attributes after its language, which no reader sees:

    run=project, run=above    bash: run it in the project's folder, or in the folder that this lies in
    serve=yes                 bash: serve the project (`make dev`; on containers `make launch`) from here on
    stopped=yes               bash: what serves is stopped before
    background=yes            bash: leave it running (a receiver), until another takes its place or the page ends
    fails=yes                 bash: it must fail
    only=containers           bash: a command that there is on containers only
    needs=PROGRAM             the block, and what runs it, needs this program
    file=PATH, append=PATH    write it into this file of the project, or at its end
    env=set                   lines of .env, in the place of those with the same names
    shows=last                what the last command printed, or in JSON its last document; `...` stands for anything
    shows=background          the same of what runs in the background; waited for
    shows=no                  a document to look at
    skip=REASON               not run; the text before it says so to readers
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.local.running import Dev, environment, make
from tests.support.bakery import REPOSITORY
from tests.support.markdown import Block
from tests.support.ports import free_port
from tests.support.waiting import eventually

TEMPLATE_URL = "gh:denzel-template/denzel-template"
COMMAND_TIMEOUT = 300  # seconds
RECEIVER = "9000"  # the port of receivers in the texts


class Reader:
    """Follows one page.

    Args:
        above: the folder that the page begins in.
        venv: the environment that projects get as their `.venv`, so that packages are installed once; empty: their own.
        project: the project that the page is about, if it bakes none.
        containers: serve on containers, not by `make dev`.
    """

    def __init__(
        self, above: Path, venv: Path | None = None, project: Path | None = None, containers: bool = False
    ) -> None:
        self.above = above
        self.venv = venv
        self.project = project
        self.containers = containers
        self.ports = {port: str(free_port()) for port in ("8000", "5555", RECEIVER)}
        self.printed = ""
        self._dev: Dev | None = None
        self._launched = False
        self._background: subprocess.Popen[bytes] | None = None

    def follow(self, block: Block) -> None:
        """Do what a block is for."""
        words = block.attributes
        text = self._here(block.text)
        if "skip" in words or (words.get("only") == "containers" and not self.containers):
            return
        if "file" in words:
            path = self._project / words["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif "append" in words:
            path = self._project / words["append"]
            path.write_text(f"{path.read_text(encoding='utf-8').rstrip()}\n\n\n{text}", encoding="utf-8")
        elif "env" in words:
            self._set(text)
        elif "serve" in words:
            self._serve()
        elif "background" in words:
            self._begin(text)
        elif "run" in words:
            if "stopped" in words:
                self._stop()
            self._run(text, self.above if words["run"] == "above" else self._project, fails="fails" in words)
        elif words.get("shows") == "last":
            check(text, self.printed, block.language)
        elif words.get("shows") == "background":
            eventually(lambda: shown(text, self._heard()), lambda: f"{text}\nin what was heard:\n{self._heard()}", 60)

    def close(self) -> None:
        """End what runs."""
        self._end_background()
        self._stop()
        if self._launched and self._project.exists():
            make(self._project, "shutdown", "PURGE=1")

    @property
    def _project(self) -> Path:
        assert self.project, "no project was baked yet"
        return self.project

    def _here(self, text: str) -> str:
        """The text with this run's ports, and this checkout as the template."""
        text = re.sub(r"\b(8000|5555|9000)\b", lambda match: self.ports[match[1]], text)
        text = text.replace(TEMPLATE_URL, f"'{REPOSITORY}'")
        text = re.sub(r"^make receiver$", f"make receiver PORT={self.ports[RECEIVER]}", text, flags=re.MULTILINE)
        return text if self.containers else text.replace("host.docker.internal", "127.0.0.1")

    def _run(self, script: str, folder: Path, fails: bool = False) -> None:
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", re.sub(r"\bcurl ", "curl -sS ", script)],
            cwd=folder,
            env=environment(PWD=str(folder)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_TIMEOUT,
        )
        assert (done.returncode != 0) == fails, f"{script}\n{done.stdout}"
        self.printed = done.stdout
        if folder == self.above and (baked := re.search(r"^cd (\S+)$", script, re.MULTILINE)):
            self.project = self.above / baked[1]
            if self.venv:
                (self.project / ".venv").symlink_to(self.venv)

    def _set(self, lines: str) -> None:
        path = self._project / ".env"
        text = path.read_text(encoding="utf-8")
        for line in filter(None, lines.splitlines()):
            name = line.partition("=")[0]
            old = re.compile(rf"^{name}=.*$", re.MULTILINE)
            text = old.sub(lambda _, line=line: line, text) if old.search(text) else f"{text}{line}\n"
        path.write_text(text, encoding="utf-8")

    def _serve(self) -> None:
        self._stop()
        words = [f"API_PORT={self.ports['8000']}", f"MONITOR_PORT={self.ports['5555']}"]
        if self.containers:
            self._launched = True
            done = make(self._project, "launch", *words)
            self.printed = done.stdout + done.stderr
            assert done.returncode == 0, self.printed
            return
        self._dev = Dev(self._project, *words)
        self._dev.wait_until_ready(120)

    def _stop(self) -> None:
        if self._dev:
            self._dev.end()
            self._dev = None

    def _begin(self, script: str) -> None:
        self._end_background()
        folder = self._project
        with (folder / "background.txt").open("wb") as output:
            self._background = subprocess.Popen(
                ["bash", "-e", "-c", script],
                cwd=folder,
                env=environment(PWD=str(folder), PYTHONUNBUFFERED="1"),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        eventually(lambda: self._listens() or self._has_ended(), self._heard, 120)
        assert not self._has_ended(), self._heard()

    def _listens(self) -> bool:
        # asked without a connection, which some receivers would show
        return any(
            fields[1].endswith(f":{int(self.ports[RECEIVER]):04X}") and fields[3] == "0A"
            for table in ("/proc/net/tcp", "/proc/net/tcp6")
            for fields in map(str.split, Path(table).read_text().splitlines())
        )

    def _has_ended(self) -> bool:
        return self._background is None or self._background.poll() is not None

    def _heard(self) -> str:
        return (self._project / "background.txt").read_text(encoding="utf-8")

    def _end_background(self) -> None:
        if self._background:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._background.pid, signal.SIGTERM)
            self._background.wait(15)
            eventually(lambda: not self._listens(), "the port is free again", 15)
            self._background = None


def check(expected: str, printed: str, language: str) -> None:
    """Whether the output is what the text says: JSON as the last document of it, else line by line, in order."""
    if language == "json":
        assert matches(json.loads(expected), last_document(printed)), f"expected:\n{expected}\nprinted:\n{printed}"
    else:
        assert shown(expected, printed), f"expected:\n{expected}\nprinted:\n{printed}"


def shown(expected: str, printed: str) -> bool:
    """Whether all lines are there, in this order; `...` stands for anything within a line, or for lines."""
    lines = iter(printed.splitlines())
    for line in filter(None, (line.strip() for line in expected.splitlines())):
        if line != "..." and not any(_wildcards(line).search(found) for found in lines):
            return False
    return True


def matches(expected: Any, found: Any) -> bool:
    """Whether a document is the expected one; "..." stands for anything, as a key for any others."""
    if expected == "...":
        return True
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        names = set(expected) - {"..."}
        complete = names <= set(found) if "..." in expected else names == set(found)
        return complete and all(matches(expected[name], found[name]) for name in names)
    if isinstance(expected, list) and isinstance(found, list):
        return len(expected) == len(found) and all(map(matches, expected, found))
    if isinstance(expected, str) and isinstance(found, str):
        return bool(_wildcards(expected).fullmatch(found))
    return expected == found


def last_document(printed: str) -> Any:
    """The last JSON document among the lines."""
    for start in reversed([match.start() for match in re.finditer(r"^[{\[]", printed, re.MULTILINE)]):
        with contextlib.suppress(ValueError):
            return json.JSONDecoder().raw_decode(printed[start:])[0]
    raise AssertionError(f"no JSON in:\n{printed}")


def _wildcards(line: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, line.split("..."))), re.IGNORECASE)  # names of headers have no case


@contextlib.contextmanager
def reading(*arguments: Any, **options: Any) -> Iterator[Reader]:
    """A reader for as long as the block lasts; what it has started ends with it."""
    reader = Reader(*arguments, **options)
    try:
        yield reader
    finally:
        reader.close()
        sys.stdout.write(reader.printed)  # pytest shows it of a test that failed
