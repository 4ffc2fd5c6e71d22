"""A task's record, the hash that Redis or the inline executor keeps of it, and what /status shows of that."""

from __future__ import annotations

import json
from typing import Any

from denzel import timings

# States in which a task stays.
FINAL = frozenset({"SUCCESS", "FAILURE", "REVOKED"})

# How a task ended: status, result and message (JSON) as its record holds them.
Ending = tuple[str, bytes, bytes]
# How a task ends that its client cancels.
CANCELLED: Ending = ("REVOKED", b'{"args":["cancelled"],"type":"TaskRevokedError"}', b'"The task was cancelled."')
# How it ended with the task's id first, and last the times of its call.
EndedTask = tuple[str, str, bytes, bytes, timings.CallTimes]


def status_body(record: dict[bytes, bytes]) -> dict[str, Any]:
    """The body of /status from a task's record."""
    fields = {key.decode(): value for key, value in record.items()}
    body: dict[str, Any] = {
        "status": fields["status"].decode(),
        "result": json.loads(fields["result"]) if fields.get("result") else None,
    }
    for name in ("accepted", "started", "ended"):
        if fields.get(name):
            body[name] = float(fields[name])
    if fields.get("worker"):
        body["worker"] = fields["worker"].decode()
    if fields.get("model"):
        body["model"] = fields["model"].decode()
    if fields.get("ended") and (times := timings.of_record(fields)):
        body["timings"] = timings.shown(times)
    for name in ("done", "total"):  # of an ingesting
        if name in fields:
            body[name] = int(fields[name])
    if fields.get("attempts"):
        body["attempts"] = int(fields["attempts"])
    if fields.get("callback"):
        body["callback"] = json.loads(fields["callback"])
    elif fields.get("callback_uri") and fields.get("mode") == b"async":
        body["callback"] = {"state": "pending", "attempts": 0}
    return body
