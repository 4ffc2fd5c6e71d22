"""What is asked of the service, with the answer that is right, and what the client was told."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

SYNC, CALLBACK, POLLED = "sync", "callback", "polled"

# What a client knows when its request is over.
ACCEPTED = "accepted"  # it has the predictions, or the id of a task
REFUSED = "refused"  # it was told so (503, 429), or found nobody to send to
UNANSWERED = "unanswered"  # the connection broke under it: the task may be there or not


@dataclass
class Asked:
    """One request: no other has its number, nor its answer.

    Attributes:
        wait: seconds, at the most, until a synchronous request is answered.
        key: its Idempotency-Key, if it has one: then it is sent again while it is unanswered.
        outcome: accepted, refused or unanswered; anything else is an answer that no client should get.
        sent, ended: when (time.monotonic) it was first sent, and when its end was seen.
        status: how its task ended; the HTTP status where its record is gone.
        result: the predictions, or the failure.
    """

    number: int
    mode: str
    wait: int
    data: dict[str, dict[str, Any]]
    key: str | None
    outcome: str = ""
    task_id: str = ""
    sent: float = 0.0
    ended: float = 0.0
    status: str = ""
    result: Any = None
    right: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.right = {name: hashlib.sha256(part["text"].encode()).hexdigest() for name, part in self.data.items()}

    def body(self, callback_uri: str) -> bytes:
        """The request's body."""
        callback = {"callback_uri": callback_uri} if self.mode == CALLBACK else {}
        return json.dumps({"data": self.data, **callback}).encode()

    @property
    def headers(self) -> dict[str, str]:
        """The request's headers."""
        prefer = f"wait={self.wait}" if self.mode == SYNC else "respond-async"
        return {"Prefer": prefer, **({"Idempotency-Key": self.key} if self.key else {})}


def questions(seed: int) -> Iterator[Asked]:
    """Requests without end, the same ones for the same seed: most are quick, some slow, a few long."""
    draw = random.Random(f"questions {seed}")
    number = 0
    while True:
        number += 1
        mode = draw.choices((SYNC, CALLBACK, POLLED), (3, 4, 3))[0]
        kind = draw.random()
        seconds = draw.uniform(0.05, 0.5) if kind < 0.12 else draw.uniform(2, 5) if kind < 0.127 else 0.0
        names = [f"{draw.getrandbits(32):x}" for _ in range(draw.randint(1, 3))]
        data = {
            name: {"number": number, "text": f"{seed} {number} {name}", "seconds": round(seconds / len(names), 3)}
            for name in names
        }
        key = f"{seed}-{number}" if draw.random() < 0.25 else None
        yield Asked(number, mode, draw.choice((1, 5)), data, key)
