"""The supervisor's side of the queue: heartbeats, processes that ended, ran too long or run what was cancelled.

`overview` is what the API tells of the nodes at /ready.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from denzel.queue import keys
from denzel.queue.scripts import script
from denzel.queue.ticket import QueueSettings

_BEAT = script("beat")
_RELEASE = script("release")
_TIME_OUT = script("time_out")
_OVERVIEW = script("overview")


async def beat(
    client: Any, settings: QueueSettings, name: str, heartbeat: dict[str, Any], tokens: Sequence[str], full: bool
) -> bool:
    """Say that a node and its processes live, and put right what has gone wrong; True when tasks wait.

    Args:
        tokens: of the processes that live.
        full: Redis has hardly any memory left: accept no tasks, so that the answers still find room.
    """
    arguments = [
        name,
        json.dumps({**heartbeat, "reads_beside": True}),
        settings.ticket_queue,
        settings.ticket,
        settings.sync_expires,
        settings.expires,
        int(full),
    ]
    return bool(await _BEAT.call(client, *arguments, *tokens))


async def release(
    client: Any, settings: QueueSettings, token: str, blameless: bool = False, how: str = "", ran: str = ""
) -> bool:
    """The process with this token has ended: its tasks wait again; True when tasks wait.

    Args:
        blameless: it was stopped on purpose, so this does not count against the task that it ran.
        how: it has ended, for the error of a task that is given up.
        ran: the task that ran as it ended.
    """
    arguments = [token, settings.ticket_queue, settings.ticket, settings.sync_expires, settings.expires, int(blameless)]
    in_json = json.dumps(how)[1:-1]
    return bool(await _RELEASE.call(client, *arguments, in_json, ran))


async def is_cancelled(client: Any, token: str, task_id: str) -> bool:
    """Whether the process with this token runs a cancelled task, and nothing else."""
    async with client.pipeline(transaction=False) as pipeline:
        status, claims = await pipeline.hget(keys.TASK + task_id, "status").smembers(keys.CLAIMS + token).execute()
    return status == b"REVOKED" and claims == {task_id.encode()}


async def time_out(client: Any, settings: QueueSettings, token: str, task_id: str, seconds: float) -> None:
    """End a task as a failure because its process, about to be killed, ran it for longer than allowed."""
    reason = f"timed out after {seconds:g} s"
    result = json.dumps({"args": [reason], "type": "TimeLimitExceeded"})
    await _TIME_OUT.call(client, token, task_id, result, json.dumps(reason), settings.sync_expires, settings.expires)


async def overview(client: Any) -> tuple[int, list[dict[str, Any]], dict[str, Any] | None]:
    """How many tasks wait; the nodes' heartbeats by name, each with its `age` in seconds; the last ingesting."""
    now, waiting, flat, found = await _OVERVIEW.call(client)
    nodes = []
    for name, value in zip(flat[::2], flat[1::2], strict=True):
        written, _, heartbeat = value.decode().partition(" ")
        nodes.append({"name": name.decode(), "age": int(now) - int(written), **json.loads(heartbeat)})
    return waiting, sorted(nodes, key=lambda node: (len(node["name"]), node["name"])), _ingest(found)


def _ingest(found: Sequence[bytes]) -> dict[str, Any] | None:
    """What /ready tells of the ingesting, from its id and record; None where there is none."""
    if not found:
        return None
    task_id, status, done, total, message = found
    told = {"id": task_id.decode(), "status": status.decode(), "done": int(done or 0), "total": int(total or 0)}
    return {**told, "error": json.loads(message)} if message else told
