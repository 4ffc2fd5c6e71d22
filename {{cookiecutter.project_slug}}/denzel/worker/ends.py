"""A line of the log for each task of the queue that has ended; those that came directly have that of their answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence

from denzel.log.sample import Sample
from denzel.record import EndedTask

log = logging.getLogger("denzel.worker")


def tell_ends(sample: Sample, ended: Sequence[EndedTask], origins: Mapping[str, str], seconds: float) -> None:
    """Tell how tasks of one call have ended; failures are told where they happen.

    Args:
        seconds: that the call took.
    """
    now = time.monotonic()
    for task_id, status, _, _, times in ended:
        if sample.admits(now):
            fields = {"status": status, "ms": round(seconds * 1e3, 3)}
            if times.batch:
                fields |= {"process": round(times.process * 1e3, 3), "predict": round(times.predict * 1e3, 3)}
                fields["batch"] = times.batch
            whose = ((task_id, origins.get(task_id, "")),)
            log.info("Task ended: %s in %.1f ms", status, seconds * 1e3, extra={"about": whose, "fields": fields})
