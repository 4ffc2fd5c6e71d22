"""Runs Flower on the queue's Celery application.

python -m denzel.monitor OPTION...        the options are those of `celery flower`
"""

from __future__ import annotations

import sys

from celery.bin.celery import main as celery

from denzel.log.configure import configure
from denzel.monitor import pages
from denzel.queue import owner
from denzel.settings import get_settings


def main() -> None:
    """Put our pages in the place of Flower's, and run it until told to stop."""
    settings = get_settings()
    if settings.log_format == "json":  # as text it is Flower's own
        configure(settings, "monitor")
    owner.check_at_start(settings, owner.visiting)
    pages.install()
    sys.argv = ["celery", "--app", "denzel.queue.broker", "flower", *sys.argv[1:]]
    sys.exit(celery())


if __name__ == "__main__":
    main()
