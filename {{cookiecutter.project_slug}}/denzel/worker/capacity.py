"""How many prediction processes there are: as many as the setting says, or, where it says auto, as fit into the memory.

What a process takes with its model is known only when the first one has loaded it. Until then the others, where there
is room enough, import what the pipeline needs, which often takes longest, and wait with the model.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from denzel import threads
from denzel.processes import free_memory, gigabytes, memory_of
from denzel.setting_values import Automatic
from denzel.settings import Settings, available_cores
from denzel.worker.child import Child, gpu_of

log = logging.getLogger("denzel.supervisor")

# Of the memory that is free, the part that further processes may take: models grow while they work.
_SPARE = 0.9
# A process is prepared where so much is free for each (bytes): large libraries take half of it.
_ROOM_TO_PREPARE = 2 << 30


class Start(Protocol):
    """Starts one more prediction process.

    Args:
        gpu: the environment that tells it which GPU is its own; empty without GPUs.
        held: it waits with its model, and does not serve yet.
    """

    def __call__(self, gpu: dict[str, str], held: bool = False) -> Child: ...


class Capacity:
    """Starts the prediction processes of a supervisor.

    Args:
        start: starts one.
        predictors: those that serve, or are about to; what is no longer held is added.

    Attributes:
        memory: bytes of a process that has loaded its model; 0: not known yet.
    """

    def __init__(self, settings: Settings, start: Start, predictors: list[Child]) -> None:
        self.memory = 0
        self._wanted = settings.worker_concurrency
        self._gpu_count = settings.gpu_count
        self._threads = settings.predict_threads
        self._start, self._predictors = start, predictors
        self._prepared: list[Child] = []

    @property
    def is_automatic(self) -> bool:
        """Whether the number of processes is ours to choose; on GPUs it is one for each of them."""
        return isinstance(self._wanted, Automatic)

    def thread_limits(self) -> dict[str, str]:
        """The environment that tells libraries how many threads to start in one process."""
        chosen = self._threads
        return threads.limits(chosen or threads.share(available_cores(), self._wanted), automatic=not chosen)

    def begin(self) -> None:
        """Start the first processes."""
        for index in range(1 if self.is_automatic else self._wanted):
            self._start(gpu_of(index, self._gpu_count))
        if self.is_automatic:
            room = free_memory() // _ROOM_TO_PREPARE
            self._prepared = [self._start({}, held=True) for _ in range(1, min(self._wanted, room))]

    def forget_prepared(self) -> None:
        """New code is there: what was prepared has imported the old one."""
        for child in self._prepared:
            child.stop()
        self._prepared = []

    async def start_others(self) -> None:
        """Measure the first process that has loaded its model; start as many as the setting says, auto: as fit."""
        while not (loaded := [child for child in self._predictors if child.report()[0] == "UP"]):
            await asyncio.sleep(0.05)
        self.memory = memory_of(loaded[0].pid)
        if self.is_automatic:
            await self._start_what_fits(loaded[0])
        await asyncio.Event().wait()  # a duty ends only with all of them

    async def _start_what_fits(self, first: Child) -> None:
        free = free_memory()
        if free:  # what they have imported is a part of what they are going to take
            free += sum(memory_of(child.pid) for child in self._prepared if child.pid)
        fit = self._wanted if not (self.memory and free) else min(self._wanted, 1 + int(_SPARE * free / self.memory))
        if fit < self._wanted:
            log.warning(
                "%d of %d prediction processes: each takes %s with its model, and %s are free (WORKER_CONCURRENCY)",
                fit, self._wanted, gigabytes(self.memory), gigabytes(free),
            )  # fmt: skip
        self._wanted = Automatic(fit)
        limits = self.thread_limits()
        others: list[Child] = []
        missing = fit - 1  # newer code may be about to take over from the first one: there are two of it then
        for child in self._prepared:
            if missing > len(others) and child.has_environment(limits):
                child.go_on()
                self._predictors.append(child)
                others.append(child)
            else:
                child.stop()
        self._prepared = []
        others += [self._start({}) for _ in range(missing - len(others))]
        await self._share_anew(first, others)

    async def _share_anew(self, first: Child, others: list[Child]) -> None:
        """Where fewer processes fit than were wanted, each has more cores: the first one has to start again for that.

        Libraries count cores when they are loaded. Others serve meanwhile, if there are others.
        """
        limits = self.thread_limits()
        if first.has_environment(limits):
            return
        while others and not any(child.report()[0] == "UP" for child in others):
            await asyncio.sleep(0.1)
        if first in self._predictors:  # no newer code has taken over
            log.info("%s loads the model once more, with its share of the cores", first.title)
            first.start_again(limits)
