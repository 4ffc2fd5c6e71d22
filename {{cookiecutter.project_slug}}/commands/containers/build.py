"""Building the image, its progress shown here and its state left for ``make status`` in another terminal."""

from __future__ import annotations

import re
import subprocess
from collections import deque
from collections.abc import Iterable, Iterator

from commands.shared import package_index
from commands.shared.docker import compose_environment
from commands.shared.env import read_env
from commands.shared.project import ROOT, CommandError
from commands.shared.running import BUILDING_FILE, write_marker
from commands.shared.screen import colour, say

OS_COMMANDS = "OS COMMANDS..."
PIP_INSTALLING = "PIP INSTALLING..."

# stage of the Dockerfile -> state and the file at which its failures point
_STATES = {"os": OS_COMMANDS, "build": OS_COMMANDS, "framework": PIP_INSTALLING, "pip": PIP_INSTALLING}
_SOURCES = {
    "os": "requirements.sh",
    "build": "requirements-build.sh",
    "framework": "requirements-denzel.txt",
    "requirements": "requirements.txt",
    "pip": "requirements.txt",
}

# BuildKit's plain progress: "#12 [pip 2/2] RUN ...", then lines of that step as "#12 3.456 text"
_STEP = re.compile(r"^#(\d+) \[(?:\S+ )?(\w+) +\d+/\d+\] (\w+)")
_LINE = re.compile(r"^#(\d+) (?:\d+\.\d+ )(.*)$")
ROOM = "Make room on it (df -h shows the disks, docker system df what Docker takes), and try again."
# what pip says about packages that are there already, and about whom it asks for each
_NOISE = re.compile(
    r"^\s*(Requirement already satisfied|Attempting uninstall|Found existing|Not uninstalling"
    r"|Can't uninstall|━)|^\s*$"
)
_ASKED_BY = re.compile(r"( \(from [^()]*(\([^()]*\)[^()]*)*\))+$")
_FAILED = re.compile(r"^#(\d+) ERROR: (.*)$")


def build(**arguments: str) -> None:
    """Build the image; build arguments override those of ``.env``.

    Raises:
        CommandError: with the last lines of the step that failed; a former image is still there then.
    """
    say(f"Building the image {read_env()['COMPOSE_PROJECT_NAME']}")
    process = subprocess.Popen(
        ["docker", "compose", "--progress", "plain", "build", "api"],
        cwd=ROOT,
        env=compose_environment(BUILDKIT_PROGRESS="plain", DOCKER_CLI_HINTS="false", **arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert process.stdout is not None
    progress = BuildProgress()
    try:
        for state, text in progress.read(process.stdout):
            if state:
                write_marker(BUILDING_FILE, state=state)
                say(colour(state, "yellow"))
            else:
                say(colour(f"  {text}", "grey"))
        if process.wait() != 0:
            raise CommandError(progress.failure())
    finally:
        BUILDING_FILE.unlink(missing_ok=True)
        process.terminate()
        process.wait()
        process.stdout.close()


class BuildProgress:
    """What a build prints, reduced to what its user wants to see."""

    def __init__(self) -> None:
        self._stages: dict[str, str] = {}  # number of a step -> its stage
        self._state = ""
        self._last: dict[str, deque[str]] = {}  # number of a step -> the end of its output
        self._other: deque[str] = deque(maxlen=15)
        self._failed = ""

    def read(self, lines: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Yield ``(state, "")`` when a new one begins, and ``("", line)`` for what a step prints."""
        for line in lines:
            line = line.rstrip()
            if match := _STEP.match(line):
                number, stage, instruction = match.groups()
                if instruction == "RUN":
                    self._stages[number] = stage
            elif match := _LINE.match(line):
                number, text = match.groups()
                self._last.setdefault(number, deque(maxlen=15)).append(text)
                # a state begins with its first output: a step from the cache has none
                if state := self._begun(number):
                    yield state, ""
                if not _NOISE.match(text):
                    yield "", _ASKED_BY.sub("", text)
            elif match := _FAILED.match(line):
                self._failed = match[1]
                self._other.append(match[2])
            elif line and not line.startswith("#"):
                self._other.append(line)

    def _begun(self, number: str) -> str:
        state = _STATES.get(self._stages.get(number, ""), "")
        if state == self._state:
            return ""
        self._state = state
        return state

    def failure(self) -> str:
        """The failed step's own last lines, and which file to correct."""
        stage = self._stages.get(self._failed, "")
        lines = self._last.get(self._failed) or self._other
        text = "\n".join(f"  {line}" for line in lines if line.strip())
        if stage in ("framework", "pip") and (advice := package_index.advice(text)):
            return f"{text}\n\nBuilding the image failed. {advice}"
        if "no space left on device" in text.lower():
            return f"{text}\n\nBuilding the image failed: the disk is full. {ROOM}"
        if source := _SOURCES.get(stage):
            return f"{text}\n\nBuilding the image failed at {source}: correct it and try again."
        return f"{text}\n\nBuilding the image failed."
