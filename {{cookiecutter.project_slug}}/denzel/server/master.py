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
from denzel.server.board import ACCEPTING, BOARD, SPENT, STARTING

# Seconds within which a process that was told to leave must have stopped to accept.
_STOPS_ACCEPTING = 10.0
# Processes that were told to leave: that they end by that signal is no news.
_TOLD: set[int] = set()
# Seconds after which processes that did not start, in the place of spent ones, are tried again.
_TRY_AGAIN = 60.0
_not_before = 0.0
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


def reload(server: Arbiter) -> None:
    """Replace the processes; when new ones do not come up, the old ones stay.

    Takes the place of gunicorn's own way, which stops the old ones at once: clients would wait for as long as a
    pipeline takes to be imported.
    """
    BOARD.begin()
    done = _replace(server, list(server.WORKERS), server.num_workers)
    if done is None:
        return
    BOARD.end(done)
    COUNTS.add(RELOADS["api", "done" if done else "failed"])
    if done:
        server.log.info("New API processes have taken over")


def manage_workers(server: Arbiter) -> None:
    """Keep as many processes as there are to be, and replace those that are spent; called at least once a second.

    Those that were told to leave no longer count: gunicorn itself would tell others to leave, too, as long as there are
    more than there are to be.
    """
    global _not_before
    _TOLD.intersection_update(server.WORKERS)
    leaving = {pid: server.WORKERS.pop(pid) for pid in _TOLD}
    try:
        Arbiter.manage_workers(server)
    finally:
        server.WORKERS.update(leaving)
    spent = [pid for pid, worker in server.WORKERS.items() if BOARD.state(worker.age) == SPENT and pid not in _TOLD]
    if spent and time.monotonic() > _not_before:
        server.log.warning("%d of the API processes have a call that never ends; new ones take their place", len(spent))
        if _replace(server, spent, len(spent)) is False:
            _not_before = time.monotonic() + _TRY_AGAIN


def _replace(server: Arbiter, old: list[int], count: int) -> bool | None:
    """Let so many new processes take the place of old ones; False: they do not start, None: all are told to stop."""
    new = [server.spawn_worker() for _ in range(count)]  # does not return in the new processes
    has_come_up = _come_up(server, new)
    if _told_to_stop(server):  # which ends the new ones too
        return None
    if not has_come_up:
        server.log.error("The new API processes do not start; those from before go on")
        for pid in new:
            if worker := server.WORKERS.pop(pid, None):
                server.kill_worker(pid, signal.SIGTERM)
                worker.tmp.close()
        return False
    for pid in old:
        server.kill_worker(pid, signal.SIGTERM)
    until = time.monotonic() + _STOPS_ACCEPTING
    while _accepting(server, old) and time.monotonic() < until:
        time.sleep(0.02)
        server.reap_workers()
    return True


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
    return any(BOARD.state(server.WORKERS[pid].age) in (ACCEPTING, SPENT) for pid in pids if pid in server.WORKERS)


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
