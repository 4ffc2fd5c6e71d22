"""How gunicorn runs the API (`entrypoints/api.sh`)."""

import os
from functools import partial

from denzel.log.configure import configure
from denzel.metrics.counts import COUNTS
from denzel.metrics.pages import Pages
from denzel.processes import die_with_parent
from denzel.server import (
    master,
    windows,  # noqa: F401 - before any process is forked: they share its page
)
from denzel.server.keeper import raise_limit
from denzel.server.log import ServerLog
from denzel.server.server import Worker as ServingWorker
from denzel.settings import SettingsError, available_cores, get_settings
from denzel.threads import limits, share

_settings = get_settings()
configure(_settings, "api")
raise_limit(_settings.api_connections)
try:
    _settings.require_keys()
except SettingsError as error:
    raise SystemExit(str(error)) from None


class Worker(ServingWorker):
    """A process of the API."""

    PATIENCE = min(_settings.stop_grace, ServingWorker.PATIENCE)


# Set before any process imports the user's code. Inline the model runs here, in one process.
_processes = 1 if _settings.executor == "inline" else _settings.api_workers
_threads = (_settings.predict_threads if _settings.executor == "inline" else 0) or share(available_cores(), _processes)
os.environ.update(limits(_threads, automatic=not _settings.predict_threads))


def on_starting(server):
    """On SIGHUP, new processes come up before the old ones leave; a stop cuts off nobody."""
    COUNTS.use(_pages, 0, "master")
    server.log.error_log.addFilter(master.name_cause)
    server.kill_worker = partial(master.kill_worker, server)
    server.reload = partial(master.reload, server)
    server.manage_workers = partial(master.manage_workers, server)
    server.stop = partial(master.stop, server)


def pre_fork(server, worker):
    """Give a process the first page of numbers that no other one has."""
    taken = {other.page for other in server.WORKERS.values()}
    worker.page = next((number for number in range(1, _pages.count) if number not in taken), None)


def post_fork(server, worker):
    """Without its master a process would hold the port for ever."""
    die_with_parent()
    if worker.page is not None:
        COUNTS.use(_pages, worker.page, "api")


# What the processes count; more pages than there are processes, as new ones come up before the old ones leave.
_pages = Pages.create(3 * _processes + 8)

bind = _settings.api_bind
# The inline executor keeps its tasks in memory, where a second process would not find them.
workers = _processes
worker_class = Worker
# A process whose event loop has been stuck for this long is replaced (seconds).
timeout = 60
# Clients that wait are answered within the patience of a process that leaves.
graceful_timeout = 35
loglevel = _settings.log_level
logger_class = ServerLog
control_socket_disable = True
