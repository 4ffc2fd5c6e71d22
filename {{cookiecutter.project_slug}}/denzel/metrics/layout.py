"""What is counted: each number has a name, under which it is added up in Redis, and a place in the processes' pages.

A name is a contract with the data in Redis: processes of two versions add to the same numbers during an update.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

# How requests to POST /predict are answered.
OUTCOMES = ("success", "failure", "refused", "accepted", "busy", "timeout", "cancelled", "unavailable", "gone")
STAGES = ("verify", "queue", "process", "predict", "reply", "callback")
# How deliveries of callbacks end, and their attempts.
DELIVERIES = ("delivered", "gone", "failed")
ATTEMPTS = ("delivered", "failed")
# Who takes up new code, or a new model, and whether that worked.
RELOADING = ("api", "denzel")
RESULTS = ("done", "failed")

# Upper bounds of the histograms, in seconds, tasks, attempts.
SECONDS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0,
)  # fmt: skip
TASKS = (1, 2, 4, 8, 16, 32, 64, 128)
TRIES = (1, 2, 3, 5, 8, 13, 21)

# All names, in the order of the places; and the places of the sums.
NAMES: list[str] = []
SUMS: set[int] = set()
# Totals of sums are whole numbers of millionths.
MILLIONTHS = 1_000_000


def _place(name: str) -> int:
    NAMES.append(name)
    return len(NAMES) - 1


class Histogram:
    """A histogram's places: one for each bound, one for what is beyond the last, one for the sum."""

    __slots__ = ("bounds", "first", "name", "total")

    def __init__(self, name: str, bounds: Sequence[float]) -> None:
        self.name = name
        self.bounds = list(bounds)
        self.first = len(NAMES)
        for bound in (*bounds, "+Inf"):
            _place(f"{name}:{bound}")
        self.total = _place(f"{name}:millionths")
        SUMS.add(self.total)

    @property
    def names(self) -> list[str]:
        """The names of its numbers, the sum's last."""
        return NAMES[self.first : self.total + 1]


REQUESTS = {outcome: _place(f"requests:{outcome}") for outcome in OUTCOMES}
# From a request's arrival to its answer, of those that waited for predictions.
DURATION = Histogram("duration", SECONDS)
STAGE = {stage: Histogram(f"stage:{stage}", SECONDS) for stage in STAGES}
BATCH = Histogram("batch", TASKS)
CALLBACKS = {outcome: _place(f"callbacks:{outcome}") for outcome in DELIVERIES}
CALLBACK_ATTEMPTS = {result: _place(f"callback_attempts:{result}") for result in ATTEMPTS}
CALLBACK_TRIES = Histogram("callback_tries", TRIES)
RELOADS = {(who, result): _place(f"reloads:{who}:{result}") for who in RELOADING for result in RESULTS}
LOADS = {result: _place(f"model_loads:{result}") for result in RESULTS}

# What a process tells of itself at the moment, beside what it counts.
PID, TITLE, RUNNING, LOAD_SECONDS = range(4)
# What a process is, by what stands at TITLE.
TITLES = ("api", "master", "supervisor", "prediction", "callbacks")
OWN = 8  # places for it

# Of two programs that share pages both must know the same places.
FINGERPRINT = hashlib.sha256(" ".join(NAMES).encode()).hexdigest()[:8]
