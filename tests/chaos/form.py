"""How long a run is, and which one: from the environment."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Form:
    """The form of a run.

    Attributes:
        seed: of the requests and of what is done to the service: the same seed, the same plan.
        tasks: at least so many are accepted.
        minutes: for which the service is disturbed, at least; 0 is the short form: each disturbance twice.
    """

    seed: int
    tasks: int
    minutes: float

    @classmethod
    def from_environment(cls) -> Form:
        """What DENZEL_CHAOS_SEED, DENZEL_CHAOS_TASKS and DENZEL_CHAOS_MINUTES say; a new seed where none is given."""
        return cls(
            seed=int(os.environ.get("DENZEL_CHAOS_SEED") or random.randrange(1_000_000)),
            tasks=int(os.environ.get("DENZEL_CHAOS_TASKS") or 300),
            minutes=float(os.environ.get("DENZEL_CHAOS_MINUTES") or 0),
        )

    @property
    def is_long(self) -> bool:
        """Whether it was asked for more than the short form."""
        return self.minutes > 0

    @property
    def timeout(self) -> float:
        """Seconds that a test may take, far more than it needs."""
        return 600 + 60 * self.minutes + self.tasks


FORM = Form.from_environment()
