"""What gunicorn's master does in our way: it replaces all processes without a gap, and stops them without a reset.

On SIGHUP new processes, with the code of now, come up before the old ones leave; the listening socket stays open all
the while. gunicorn itself stops the old ones at once, and clients would wait for as long as a pipeline takes to be
imported.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import signal
import time
from collections.abc import Iterable

from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from denzel.metrics.counts import COUNTS
from denzel.metrics.layout import RELOADS
from denzel.processes import ending_of
from denzel.server.board import ACCEPTING, BOARD, STARTING

# Seconds within which a process that was told to leave must have stopped to accept.
_STOPS_ACCEPTING = 10.0
# Processes that were told to leave: that they end by that signal is no news.
_TOLD: set[int] = set()
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


def reload(server: Arbiter) -> None:
    """Replace the processes; when new ones do not come up, the old ones stay.

    Takes the place of gunicorn's own way, which stops the old ones at once: clients would wait for as long as a
    pipeline takes to be imported.
    """
    BOARD.begin()
    old = dict(server.WORKERS)
    new = [server.spawn_worker() for _ in range(server.num_workers)]  # does not return in the new processes
    has_come_up = _come_up(server, new)
    if _told_to_stop(server):  # which ends the new ones too
        return
    if not has_come_up:
        server.log.error("The new API processes do not start; those from before go on")
        for pid in new:
            if worker := server.WORKERS.pop(pid, None):
                server.kill_worker(pid, signal.SIGTERM)
                worker.tmp.close()
        BOARD.end(done=False)
        COUNTS.add(RELOADS["api", "failed"])
        return
    for pid in old:
        server.kill_worker(pid, signal.SIGTERM)
    until = time.monotonic() + _STOPS_ACCEPTING
    while _accepting(server, old) and time.monotonic() < until:
        time.sleep(0.02)
        server.reap_workers()
    BOARD.end(done=True)
    COUNTS.add(RELOADS["api", "done"])
    server.log.info("New API processes have taken over")


def stop(server: Arbiter, graceful: bool = True) -> None:
    """Stop all processes, those first that have not served yet.

    They hold the listening socket without accepting from it: what connects when the others have closed theirs would be
    reset.
    """
    for pid, worker in list(server.WORKERS.items()):
        if BOARD.state(worker.age) == STARTING:
            server.kill_worker(pid, signal.SIGKILL)
    until = time.monotonic() + _STOPS_ACCEPTING
    while any(BOARD.state(worker.age) == STARTING for worker in server.WORKERS.values()) and time.monotonic() < until:
        time.sleep(0.005)
        with contextlib.suppress(HaltServer):
            server.reap_workers()
    Arbiter.stop(server, graceful)


def kill_worker(server: Arbiter, pid: int, number: int) -> None:
    """Send a process a signal, and remember if that tells it to leave."""
    if number == signal.SIGTERM:
        _TOLD.add(pid)
    Arbiter.kill_worker(server, pid, number)


def name_cause(record: logging.LogRecord) -> bool:
    """A filter for gunicorn's log: the line of a process that a signal has ended says what that means as a rule.

    Of one that was told to leave it says that it ended.
    """
    if str(record.msg).startswith("Worker (pid:%s) was sent %s!") and isinstance(record.args, tuple):
        pid, name = record.args
        if name == "SIGTERM" and pid in _TOLD:
            _TOLD.discard(pid)
            record.msg, record.args = "Worker (pid:%s) ended", (pid,)
            return True
        with contextlib.suppress(ValueError, AttributeError):
            record.args = (pid, ending_of(-getattr(signal, str(name))))
            record.msg = "Worker (pid:%s) ended (%s)"
    return True


def _accepting(server: Arbiter, pids: Iterable[int]) -> bool:
    """Whether one of these processes still accepts connections."""
    return any(BOARD.state(server.WORKERS[pid].age) == ACCEPTING for pid in pids if pid in server.WORKERS)


def _come_up(server: Arbiter, new: list[int]) -> bool:
    """Wait until the new processes accept connections; False when one ends instead, or all are to stop."""
    while True:
        try:
            server.reap_workers()
        except HaltServer:  # it could not even start
            return False
        server.murder_workers()
        workers = [server.WORKERS.get(pid) for pid in new]
        if None in workers or _told_to_stop(server):
            return False
        if all(BOARD.state(worker.age) == ACCEPTING for worker in workers):
            return True
        time.sleep(0.05)


def _told_to_stop(server: Arbiter) -> bool:
    """Whether a signal to stop waits to be handled; it goes on waiting."""
    waiting = []
    while True:
        try:
            waiting.append(server.SIG_QUEUE.get_nowait())
        except queue.Empty:
            break
    for number in waiting:
        server.SIG_QUEUE.put_nowait(number)
    return any(number in _STOP_SIGNALS for number in waiting)
