"""The one background task: the ingesting of the user's data, queued by `make ingest`.

It has a record like any task, so that /status tells of it and can cancel it; `done` and `total` in it are what the
user's function has said last. `ingest` holds the id of the last one, `ingest:lease` the process that is
at it, which renews it: when the process has died, it runs out, and another one goes on from `done`.
"""

from __future__ import annotations

import json
import uuid
from typing import Any, NamedTuple

from denzel.queue import keys
from denzel.queue.scripts import script
from denzel.record import FINAL

# Seconds for which a process that says nothing is believed to be at it, and how often it says something.
LEASE, RENEW_EVERY = 6.0, 1.5
# Processes that may die without any progress before it is given up.
_MOST_LIVES = 3

_BEGIN = script("begin_ingest")
_CLAIM = script("claim_ingest")
_STEP = script("step_ingest")
_END = script("end_ingest")

_GIVEN_UP = f"the process died {_MOST_LIVES} times without any progress"


class Claim(NamedTuple):
    """An ingesting that is this process's own.

    Attributes:
        done: how far it is, as the user's function said last; 0 at the beginning.
    """

    id: str
    owner: str
    done: int


def begin(client: Any) -> tuple[str, bool]:
    """Queue the ingesting: its id, and whether it is a new one; while one waits or runs, there is no second."""
    task_id = str(uuid.uuid4())
    found = _BEGIN(client, task_id).decode()
    return found, found == task_id


async def waits(client: Any) -> bool:
    """Whether there is an ingesting that nobody is at."""
    task_id = await client.get(keys.INGEST)
    if task_id is None or await client.exists(keys.INGEST_LEASE):
        return False
    status = await client.hget(keys.TASK + task_id.decode(), "status")
    return status is not None and status.decode() not in FINAL


def claim(client: Any, expires: int) -> Claim | None:
    """Take the ingesting that nobody is at; None where there is none.

    Args:
        expires: seconds for which the record of one that is given up is kept.
    """
    owner = uuid.uuid4().hex
    result = json.dumps({"args": [_GIVEN_UP], "type": "WorkerLostError"})
    found = _CLAIM(client, owner, int(LEASE * 1000), _MOST_LIVES, expires, result, json.dumps(_GIVEN_UP))
    return Claim(found[0].decode(), owner, int(found[1] or 0)) if found else None


def step(client: Any, claim: Claim, node: str, progress: tuple[int, int] | None = None) -> bool:
    """Say that the process is still at it, and how far (done, total); False when it must not go on."""
    return bool(_STEP(client, claim.id, claim.owner, int(LEASE * 1000), node, *(progress or ())))


def end(client: Any, claim: Claim, status: str, result: bytes, message: bytes, expires: int) -> None:
    """It has ended as SUCCESS or FAILURE, or is given back (PENDING)."""
    _END(client, claim.id, claim.owner, status, result, message, expires)
