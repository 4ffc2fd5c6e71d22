"""Tasks that were given up: listed with their requests, and run again (`make dead`, `make replay`)."""

from __future__ import annotations

from typing import Any

from denzel.queue import keys
from denzel.queue.scripts import script
from denzel.record import status_body

_REPLAY = script("replay")


def dead(client: Any) -> list[tuple[str, dict[str, Any], str]]:
    """The tasks that were given up and can be run again: id, the body of /status, the request (JSON)."""
    found = []
    for task_id in client.zrange(keys.DEAD, 0, -1):
        record = client.hgetall(keys.TASK + task_id.decode())
        request = record.get(b"request") or (record.get(b"beside") and client.get(keys.REQUEST + task_id.decode()))
        if record.get(b"status") == b"FAILURE" and request:
            found.append((task_id.decode(), status_body(record), request.decode()))
        else:
            client.zrem(keys.DEAD, task_id)  # expired
    return found


def replay(client: Any, task_id: str) -> bool:
    """Queue a task again that was given up; False when there is no such task."""
    return bool(_REPLAY(client, task_id))
