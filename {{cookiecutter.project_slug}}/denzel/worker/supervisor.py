"""Keeps the processes of the denzel container running: the prediction processes and the sender of callbacks.

    python -m denzel.worker.supervisor

It restarts what ends, gives back the tasks of a process that died, tells how the workers are (the heartbeat in Redis
that /ready reads), and writes the log. It holds no model, so nothing that user code does can stop it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from redis import asyncio as redis
from redis.exceptions import RedisError

from denzel.pipeline.speed import speed_of_all
from denzel.processes import die_with_parent, free_memory
from denzel.queue import nodes, owner
from denzel.queue.broker import send_ticket
from denzel.queue.ticket import queue_settings
from denzel.settings import Settings, get_settings
from denzel.worker import figures, ingest_starter
from denzel.worker.cancelling import Cancelling
from denzel.worker.capacity import Capacity
from denzel.worker.child import Child, versions_of
from denzel.worker.log import configure_logging, log_to_file
from denzel.worker.monitoring import HEARTBEAT_EVERY, BusyHeartbeats
from denzel.worker.node_name import NodeName

log = logging.getLogger("denzel.supervisor")

# Lives that a process gets to load new code before the code counts as not fit to start.
_TRIES = 3
# Of Redis' `maxmemory`, when it is set: above this part no tasks are accepted, so that answers find room.
_FULL = 0.9
# Seconds between two looks at the processes' speed, and which part of a change is told before the next heartbeat.
_LOOK_AT_SPEED, _NEWS = 0.1, 0.25


class Supervisor:
    """The denzel container's processes and its heartbeat."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._redis = redis.Redis.from_url(
            settings.redis_url, redis_connect_func=owner.connected_async, socket_timeout=2, socket_connect_timeout=2
        )
        self._queue_settings = queue_settings(settings)
        self._node_name = NodeName(self._redis, settings.project_slug)
        self._predictors: list[Child] = []
        self._started_predictors = self._named = 0
        self._capacity = Capacity(settings, self._start_predictor, self._predictors)
        self._running: dict[asyncio.Task[None], Child] = {}
        self._stopping = asyncio.Event()
        self._started = time.time()
        self._news = asyncio.Event()  # the heartbeat has something to tell that cannot wait
        self._reload = asyncio.Event()
        self._reloads = self._replaced = 0
        self._reloading = self._was_full = False
        self._reload_error: str | None = None
        self._loaded = self._asked = self._started  # when the code that serves, and the newest, was asked for
        self._told_speed = 0.0, 0.0
        self._unreleased: dict[str, tuple[bool, str, str]] = {}  # tokens of processes that ended while Redis was away

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT, then let the current work finish. SIGHUP replaces the processes one by one."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._ask_for_reload)
        stopping = asyncio.create_task(self._stopping.wait())
        name = asyncio.create_task(self._node_name.claim())
        await asyncio.wait([name, stopping], return_when=asyncio.FIRST_COMPLETED)
        if self._stopping.is_set():
            name.cancel()
            return
        self._name = name.result()
        log_to_file(self._settings, self._name)
        log.info("%s: %d prediction process(es)", self._name, self._settings.worker_concurrency)
        own = {"REDIS_URL": self._settings.callbacks_redis_url or self._settings.redis_url}  # a user of its own
        self._start(Child("The callback sender", "denzel.callbacks", own))
        self._capacity.begin()
        duties = (
            self._capacity.start_others,
            self._watch_reload,
            self._beat,
            self._beat_for_the_busy,
            self._watch_speed,
            self._watch_time,
            Cancelling(self._redis, self._settings, self._prediction_processes).watch,
            lambda: ingest_starter.watch(self._redis, self._start, self._stopping),
            lambda: figures.watch(self._redis, self._name, lambda: versions_of(self._prediction_processes()).values()),
        )
        starting, reloading, *_ = loops = [asyncio.create_task(duty()) for duty in duties]
        await asyncio.wait([stopping, *loops], return_when=asyncio.FIRST_COMPLETED)
        starting.cancel()
        reloading.cancel()
        await self._stop_children()
        while left := [task for task in loops if not task.done()]:  # wait_for may lose a cancellation (before 3.12)
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=0.5)
        await self._node_name.release()
        await self._redis.aclose()
        for task in [task for task in loops if not task.cancelled()]:
            task.result()  # without one of its duties it must not go on: then it ends with that error

    def _prediction_processes(self) -> list[Child]:
        """Those that serve, and those that are on their way out."""
        return [child for child in self._running.values() if child.number]

    def _start(self, child: Child) -> asyncio.Task[None]:
        task = asyncio.create_task(child.run())
        self._running[task] = child
        task.add_done_callback(self._running.pop)
        return task

    def _start_predictor(self, gpu: dict[str, str], held: bool = False) -> Child:
        self._started_predictors += 1
        number = self._started_predictors
        environment = {**self._capacity.thread_limits(), **gpu}
        child = Child(
            f"Prediction process {number}", "denzel.worker.process", environment, number, self._new_node, self._release,
            held=held,
        )  # fmt: skip
        if not held:
            self._predictors.append(child)
        self._start(child)
        return child

    def _new_node(self) -> str:
        """A name for one life of a prediction process, which Celery needs: the first one's is the node's own."""
        self._named += 1
        short, _, slug = self._name.partition("@")
        return self._name if self._named == 1 else f"{short}.{self._named}@{slug}"

    async def _stop_children(self) -> None:
        log.info("Stopping; the current work is finished first")
        for child in self._running.values():
            child.stop()
        _, late = await asyncio.wait(list(self._running), timeout=self._settings.stop_grace)
        if late:
            log.warning("Not finished after %g s: killed; their tasks wait again", self._settings.stop_grace)
            for child in list(self._running.values()):
                child.kill(blameless=True)
            await asyncio.wait(late)

    def _ask_for_reload(self) -> None:
        """New code is there. Counted here, so that who sees the count rise can wait for the end of this very reload."""
        self._reloads += 1
        self._asked = time.time()
        self._reloading, self._replaced, self._reload_error = True, 0, None
        self._reload.set()
        self._news.set()

    async def _watch_reload(self) -> None:
        while True:
            await self._reload.wait()
            self._reload.clear()
            self._capacity.forget_prepared()
            for old in list(self._predictors):
                if not await self._replace(old):
                    break
                self._replaced += 1
                self._news.set()
            if not self._reload.is_set():  # else there is newer code
                self._reloading = False
                figures.count_reload(done=self._reload_error is None)
                if self._reload_error is None:
                    self._loaded = self._asked
                self._news.set()

    async def _replace(self, old: Child) -> bool:
        """Start a process with the code and model of now; the old one goes when it is ready. False: it is not."""
        new = self._start_predictor(old.gpu)
        while True:
            state, error = new.report()
            if state in ("UP", "ERROR") or new.ends >= _TRIES or self._reload.is_set():
                break
            await asyncio.sleep(0.1)
        too_old = self._reload.is_set() and state != "UP"  # it has read, or may have, what has changed again
        # Where nothing serves, a process that is corrected later is as good as one that was never right.
        takes_over = state == "UP" or (old.report()[0] != "UP" and not too_old)
        unwanted = old if takes_over else new
        unwanted.stop()
        self._predictors.remove(unwanted)
        if takes_over:
            log.info("%s has taken over from %s", new.title, old.title)
            return True
        if too_old:
            return False
        ended = f"{new.title} ended {new.ends} times while it started ({new.how_it_ended})"
        self._reload_error = error if state == "ERROR" and error else ended
        log.error("The new code does not start (%s); the processes from before go on", self._reload_error)
        return False

    async def _beat(self) -> None:
        """Tell once a second, and at news, how the workers are: to Redis, and to the container's health check."""
        loading = False
        while True:
            reports = [child.report() for child in self._predictors]
            for state in ("UP", "LOADING", "ERROR", "UNAVAILABLE"):  # one process that is up serves
                found = next((report for report in reports if report[0] == state), None)
                if found:
                    break
            assert found
            if loading or found[0] in ("LOADING", "ERROR"):  # what loads next, or has just loaded, is the code of now
                self._loaded = time.time()
            loading = found[0] in ("LOADING", "ERROR")
            if found[0] == "UP":
                with contextlib.suppress(OSError):
                    Path(self._settings.ready_file).touch()
            self._told_speed = self._speed()
            heartbeat = {
                "state": found[0],
                "error": found[1],
                "processes": len(reports),
                "up": sum(report[0] == "UP" for report in reports),
                "busy": round(max((child.busy_for for child in self._predictors), default=0), 1),
                "speed": self._told_speed,
                "started": self._started,
                "loaded": self._loaded,
                "reloads": self._reloads,
                "reloading": self._reloading,
                "replaced": self._replaced,
                "reload_error": self._reload_error,
                "memory": self._capacity.memory,
                "memory_free": free_memory(),
                **versions_of(self._prediction_processes()),
            }
            try:
                full = await self._redis_is_full()
                # Processes that are on their way out may still finish their tasks.
                tokens = [child.token for child in self._running.values() if child.is_at_work]
                if await nodes.beat(self._redis, self._queue_settings, self._name, heartbeat, tokens, full):
                    await self._send_ticket()
                await self._node_name.hold()
                for token in list(self._unreleased):
                    await self._release(token, *self._unreleased.pop(token))
            except (RedisError, OSError) as error:
                log.warning("No heartbeat could be written: %s", error)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._news.wait(), 1)
            self._news.clear()

    def _speed(self) -> tuple[float, float]:
        """Tasks per second of all processes that serve while they work, and the mean seconds per call."""
        return speed_of_all([child.speed for child in self._predictors if child.report()[0] == "UP"])

    async def _watch_speed(self) -> None:
        """Tell at once when processes have become faster or slower: tasks are let in by that."""
        while True:
            await asyncio.sleep(_LOOK_AT_SPEED)
            speed, told = self._speed()[0], self._told_speed[0]
            if abs(speed - told) > _NEWS * told:
                self._news.set()

    async def _beat_for_the_busy(self) -> None:
        """Keep processes that compute from looking offline in the monitor."""
        heartbeats = BusyHeartbeats()
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, "heartbeats") as thread:
            while True:
                await asyncio.sleep(HEARTBEAT_EVERY)
                busy = [(child.node, child.pid) for child in self._predictors if child.busy_for > HEARTBEAT_EVERY / 2]
                if busy:
                    await loop.run_in_executor(thread, heartbeats.send, busy)

    async def _watch_time(self) -> None:
        """Kill a prediction process that is over the hard time limit; it cannot be trusted to end by itself."""
        limit = self._settings.task_time_limit or math.inf
        while True:
            for child in self._prediction_processes():
                if child.busy_for > limit and not child.killed:
                    log.error("%s has been busy for more than %g s: killed", child.title, limit)
                    with contextlib.suppress(RedisError, OSError):
                        await nodes.time_out(self._redis, self._queue_settings, child.token, child.task_id, limit)
                    child.kill()
            await asyncio.sleep(min(0.5, limit / 10))

    async def _redis_is_full(self) -> bool:
        """Whether Redis is so close to its `maxmemory` that answers might soon find no room."""
        memory = await self._redis.info("memory")
        most = memory.get("maxmemory", 0)
        full = bool(most) and memory["used_memory"] > _FULL * most
        if full and not self._was_full:
            log.error("Redis is almost full: no tasks are accepted until there is room (maxmemory %d bytes)", most)
        self._was_full = full
        return full

    async def _release(self, token: str, blameless: bool, how: str, ran: str) -> None:
        """A process has ended: what it had claimed waits again, for another process or its successor."""
        try:
            if await nodes.release(self._redis, self._queue_settings, token, blameless, how, ran):
                await self._send_ticket()
        except (RedisError, OSError) as error:
            log.warning("The tasks of a process that ended wait again only when Redis is back: %s", error)
            self._unreleased[token] = blameless, how, ran

    async def _send_ticket(self) -> None:
        if self._queue_settings.ticket_queue:
            return  # the script has written it
        try:
            await asyncio.get_running_loop().run_in_executor(None, send_ticket)
        except Exception as error:  # kombu's errors are of many kinds; the next beat tries again
            log.warning("The broker took no message: %s", error)


def main(settings: Settings | None = None) -> Any:
    """Run the processes of this container."""
    die_with_parent()
    settings = settings or get_settings()
    configure_logging(settings)
    owner.check_at_start(settings)
    asyncio.run(Supervisor(settings).run())


if __name__ == "__main__":
    main()
