"""The service as plain processes, and what can be done to it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Mapping

from tests.chaos.schedule import Disturbance
from tests.support.processes import children_of
from tests.support.services import Service
from tests.support.waiting import eventually

DOWN = 1.5  # seconds until something that was killed is started again, at the most
FROZEN = 3.0  # seconds, at the most


class LocalTarget:
    """A service with Redis, API and denzel running; whoever disturbs it waits for nothing to recover."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.url = service.url
        self.project = service.project

    @property
    def disturbances(self) -> Mapping[str, Disturbance]:
        return {
            "kill a prediction process": lambda draw: self._kill_process("denzel.worker.process", draw),
            "kill the callback sender": lambda draw: self._kill_process("denzel.callbacks", draw),
            "kill denzel": lambda draw: self._kill("denzel", draw),
            "kill api": lambda draw: self._kill("api", draw),
            "kill redis": lambda draw: self._kill("redis", draw),
            "restart denzel": lambda draw: self._restart("denzel"),
            "restart api": lambda draw: self._restart("api"),
            "restart redis": lambda draw: self._restart("redis"),
            "freeze a prediction process": self._freeze_predictor,
            "freeze redis": self._freeze_redis,
        }

    def _kill(self, name: str, draw: random.Random) -> float:
        self._service.kill(name)
        hit = time.monotonic()
        time.sleep(draw.uniform(0, DOWN))
        self._service.start_only(name)
        return hit

    def _restart(self, name: str) -> float:
        self._service.stop(name, timeout=40)
        self._service.start_only(name)
        return time.monotonic()

    def _freeze_redis(self, draw: random.Random) -> float:
        with self._service.paused("redis"):
            hit = time.monotonic()
            time.sleep(draw.uniform(0.5, FROZEN))
        return hit

    def _kill_process(self, module: str, draw: random.Random) -> float:
        self._signal(module, signal.SIGKILL, draw)
        return time.monotonic()

    def _freeze_predictor(self, draw: random.Random) -> float:
        pid = self._signal("denzel.worker.process", signal.SIGSTOP, draw)
        hit = time.monotonic()
        time.sleep(draw.uniform(0.5, FROZEN))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
        return hit

    def _signal(self, module: str, number: signal.Signals, draw: random.Random) -> int:
        """Send a signal to one of the processes that run this module, once there is one; its pid."""
        which = draw.random()

        def send() -> int:
            found = [pid for pid, command in children_of(self._service.pid("denzel")).items() if module in command]
            if not found:
                return 0
            pid = sorted(found)[int(which * len(found))]
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
                return pid
            return 0

        return eventually(send, f"a process of {module}", 30)
