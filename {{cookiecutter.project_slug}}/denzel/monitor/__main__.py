"""Runs Flower on the queue's Celery application.

python -m denzel.monitor OPTION...        the options are those of `celery flower`
"""

from __future__ import annotations

import sys

from celery.bin.celery import main as celery

from denzel.monitor import pages


def main() -> None:
    """Put our pages in the place of Flower's, and run it until told to stop."""
    pages.install()
    sys.argv = ["celery", "--app", "denzel.queue.broker", "flower", *sys.argv[1:]]
    sys.exit(celery())


if __name__ == "__main__":
    main()
