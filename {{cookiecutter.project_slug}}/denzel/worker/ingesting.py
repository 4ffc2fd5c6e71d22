"""The process that ingests: started by the supervisor when `make ingest` has queued it, and ended with it.

    python -m denzel.worker.ingesting

It runs beside the prediction processes, so that it holds up none of them, at a lower priority for the CPU. The user's
`ingest(start)` in app/training.py yields (done, total) whenever a further part of the data is safe; that is kept in
Redis at once, and where a process was killed the next one calls `ingest(done)`. A part may so be ingested twice, but
none is left out.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import redis
from redis.exceptions import RedisError

from denzel import jsonio
from denzel.log import about
from denzel.log.configure import WITH_PROCESS, configure
from denzel.pipeline import errors
from denzel.pipeline.loading import import_training
from denzel.processes import die_with_parent
from denzel.queue import ingesting, owner
from denzel.queue.broker import app
from denzel.settings import Settings, get_settings
from denzel.worker.monitoring import BusyHeartbeats

log = logging.getLogger("denzel.ingesting")

# The name under which the monitor shows it.
NAME = "denzel.ingest"
_NICE = 10
# Seconds between two lines of the log that tell of progress.
_TELL_EVERY = 10.0


def main() -> None:
    """Ingest what is queued, if nobody else does."""
    die_with_parent()
    settings = get_settings()
    configure(settings, "denzel", text=WITH_PROCESS)
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    client = redis.Redis.from_url(
        settings.redis_url, redis_connect_func=owner.connected, socket_timeout=5, socket_connect_timeout=2
    )
    claim = ingesting.claim(client, int(settings.result_expires))
    if claim:
        about.PROCESS.about = [(claim.id, "")]
        Ingesting(client, claim, settings).run()


class Ingesting:
    """One process's part of the ingesting.

    Args:
        client: of Redis.
        claim: what it has claimed.
    """

    def __init__(self, client: Any, claim: ingesting.Claim, settings: Settings) -> None:
        self._client, self._claim = client, claim
        self._expires = int(settings.result_expires)
        self._node = f"ingest@{settings.project_slug}"
        self._events = _Events(claim.id, self._node)
        self._stopping = threading.Event()  # give it back after this part
        self._lost = threading.Event()  # it is no longer ours, or was cancelled

    def run(self) -> None:
        """Ingest until the end, until it is cancelled, or until SIGTERM."""
        signal.signal(signal.SIGTERM, lambda *_: self._stopping.set())
        threading.Thread(target=self._renew, daemon=True).start()
        log.info("Ingesting from %d on, beside the predictions", self._claim.done)
        self._events.send("task-received", name=NAME, args=f"({self._claim.done},)", kwargs="{}", retries=0)
        self._events.send("task-started")
        began, done = time.monotonic(), self._claim.done
        try:
            done = self._ingest()
        except Exception as error:
            log.error("The ingesting failed\n%s", errors.traceback_of(error))
            self._end("FAILURE", jsonio.dumps(errors.result_of(error)), jsonio.dumps(errors.message_of(error)))
            self._events.send("task-failed", exception=errors.describe(error), traceback="")
            return
        if self._lost.is_set():
            log.info("The ingesting was cancelled, or another process is at it")
            self._events.send("task-revoked", terminated=True, signum=None, expired=False)
        elif self._stopping.is_set():
            self._end("PENDING", b"", b"")
        else:
            result = jsonio.dumps({"done": done})
            self._end("SUCCESS", result, b"")
            log.info("The ingesting has ended: %d", done)
            self._events.send("task-succeeded", result=result.decode(), runtime=time.monotonic() - began)

    def _ingest(self) -> int:
        """Call the user's function, and keep what it says; how far it came."""
        module = import_training()
        function = getattr(module, "ingest", None)
        if not callable(function):
            raise RuntimeError("app/training.py defines no ingest(start)")
        done, told = self._claim.done, time.monotonic()
        for progress in function(self._claim.done):
            done, total = _checked(progress)
            if not self._keep_trying(lambda: ingesting.step(self._client, self._claim, self._node, (done, total))):  # noqa: B023
                self._lost.set()
            self._events.send("task-progress", result=f"{done} of {total}")
            if time.monotonic() - told > _TELL_EVERY:
                told = time.monotonic()
                log.info("Ingested %d of %d", done, total)
            if self._lost.is_set() or (self._stopping.is_set() and done < total):
                break
        else:
            self._stopping.clear()  # it came to its end all the same
        return done

    def _renew(self) -> None:
        """Vouch for this process, also while a part takes long."""
        heartbeats = BusyHeartbeats()
        while True:
            try:
                if not ingesting.step(self._client, self._claim, self._node):
                    self._lost.set()
            except (RedisError, OSError) as error:
                log.warning("Redis does not serve: %s", error)
            heartbeats.send([(self._node, os.getpid())])
            time.sleep(ingesting.RENEW_EVERY)

    def _end(self, status: str, result: bytes, message: bytes) -> None:
        def end() -> bool:
            ingesting.end(self._client, self._claim, status, result, message, self._expires)
            return True

        self._keep_trying(end)

    def _keep_trying(self, work: Callable[[], bool]) -> bool:
        """Repeat it until Redis serves; a process that is to stop leaves it to the next one."""
        while True:
            try:
                return work()
            except (RedisError, OSError) as error:
                log.warning("Redis does not serve (%s); trying again in 1 s", error)
                if self._stopping.wait(1):
                    raise SystemExit(1) from None


def _checked(progress: Any) -> tuple[int, int]:
    try:
        done, total = progress
        return int(done), int(total)
    except (TypeError, ValueError):
        raise TypeError(
            f"ingest(start) in app/training.py must yield (done, total), two whole numbers, not {progress!r:.80}"
        ) from None


class _Events:
    """What the monitor is told; a broker that is away costs nothing but events."""

    def __init__(self, task_id: str, node: str) -> None:
        self._task_id, self._node = task_id, node
        self._dispatcher: Any = None

    def send(self, event: str, **fields: Any) -> None:
        """Send one of Celery's task events."""
        try:
            if self._dispatcher is None:
                self._dispatcher = app.events.Dispatcher(app.connection_for_write(), hostname=self._node)
            self._dispatcher.send(event, uuid=self._task_id, **fields)
        except Exception as error:  # kombu's errors are of many kinds
            log.debug("An event was not sent: %s", error)
            self._dispatcher = None


if __name__ == "__main__":
    main()
