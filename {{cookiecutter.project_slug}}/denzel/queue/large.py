"""Large requests lie beside their tasks' records, each under a name of its own, and travel by that name.

A megabyte that is an argument of a script is copied four times before it lies in a record, and three times more on
its way out; and what a list hands over is written to Redis' file once more. So an API process stores a large request
first (`put`), by a command that copies nothing, and submits its task with an empty one; the script that writes the
record lets it stay for as long as the task may run. A process that has claimed the task reads it by name (`complete`).

Nothing is left behind. What gets no record expires. A request is deleted in the script that ends its task; that of a
task which was given up stays for as long as its record, as the task can be run again. And supervisors' heartbeats look
at each request in `beside` now and then, and delete it when no record needs it, whoever has removed that.

As long as a worker from before this is about, which would know nothing of such names, the record takes the request in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from denzel.queue import keys
from denzel.queue.scripts import script

# What is told of a task whose request is not there: somebody has deleted it, or Redis has lost data.
LOST = "Redis has lost the request"

_DROP = script("drop_requests")


def is_large(request: bytes) -> bool:
    """Whether a request lies beside its record."""
    return len(request) >= keys.LARGE


async def put(client: Any, task_id: str, request: bytes) -> None:
    """Store a request whose record is to follow soon; done again it changes nothing."""
    await client.set(keys.REQUEST + task_id, request, nx=True, ex=keys.UNRECORDED)


async def drop(client: Any, task_ids: Sequence[str]) -> None:
    """Delete requests that were put, except those whose task has a record."""
    await _DROP.call(client, *task_ids)


def complete(client: Any, tasks: Sequence[tuple[str, bytes]]) -> tuple[list[tuple[str, bytes]], list[str]]:
    """Claimed tasks (id, request) with the large requests read, and the ids of those whose request is gone."""
    names = [keys.REQUEST + task_id for task_id, request in tasks if not request]
    if not names:
        return list(tasks), []
    read = iter(client.mget(names))
    found = [(task_id, request or next(read)) for task_id, request in tasks]
    return [one for one in found if one[1] is not None], [task_id for task_id, request in found if request is None]
