"""The service on containers, and what can be done to it."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Mapping

from tests.chaos.schedule import Disturbance
from tests.e2e.project import Project

DOWN = 1.5  # seconds until something that was killed is started again, at the most
FROZEN = 3.0  # seconds, at the most

# Kills one of the processes in a container that run a module, once there is one.
_KILL = """
import os, pathlib, signal, sys, time
until = time.monotonic() + 30
while time.monotonic() < until:
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\\0")
        except OSError:
            continue
        if words[1:3] == [b"-m", sys.argv[1].encode()]:
            found.append(int(folder.name))
    if found:
        os.kill(sorted(found)[int(float(sys.argv[2]) * len(found))], signal.SIGKILL)
        sys.exit()
    time.sleep(0.1)
sys.exit("there is none")
"""


class ContainerTarget:
    """A project that was launched; whoever disturbs it waits for nothing to recover."""

    def __init__(self, project: Project) -> None:
        self.url = project.url
        self.project = project.path
        services = project.compose("ps", "--services").out.split()
        self._containers = {name: project.compose("ps", "--quiet", name).out.strip() for name in services}

    @property
    def disturbances(self) -> Mapping[str, Disturbance]:
        found: dict[str, Disturbance] = {
            "kill a prediction process": lambda draw: self._kill_process("denzel.worker.process", draw),
            "kill the callback sender": lambda draw: self._kill_process("denzel.callbacks", draw),
            "freeze redis": lambda draw: self._freeze("redis", draw),
            "freeze denzel": lambda draw: self._freeze("denzel", draw),
        }
        for name in self._containers.keys() - {"monitor"}:
            found[f"kill {name}"] = lambda draw, name=name: self._kill(name, draw)
            found[f"restart {name}"] = lambda draw, name=name: self._restart(name)
        return dict(sorted(found.items()))

    def _kill(self, name: str, draw: random.Random) -> float:
        self._docker("kill", "--signal", "KILL", name)
        hit = time.monotonic()
        time.sleep(draw.uniform(0, DOWN))
        self._docker("start", name)
        return hit

    def _restart(self, name: str) -> float:
        self._docker("stop", "-t", "40", name)
        hit = time.monotonic()
        self._docker("start", name)
        return hit

    def _freeze(self, name: str, draw: random.Random) -> float:
        self._docker("pause", name)
        hit = time.monotonic()
        time.sleep(draw.uniform(0.5, FROZEN))
        self._docker("unpause", name)
        return hit

    def _kill_process(self, module: str, draw: random.Random) -> float:
        self._docker("exec", "denzel", "python", "-c", _KILL, module, str(draw.random()))
        return time.monotonic()

    def _docker(self, verb: str, *words: str) -> None:
        """Run a command of Docker in which a service's name stands for its container."""
        command = ["docker", verb, *(self._containers.get(word, word) for word in words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"docker {verb} {words[-1]}: {done.stderr}"
