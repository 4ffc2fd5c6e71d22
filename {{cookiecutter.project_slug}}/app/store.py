"""What is kept in Redis: a record per task, the live response setting, the heartbeats of the workers.

Each step of a task's life is one Lua script, so that it happens whole or not at all, in one round trip:

    submit   the record and its message appear together             (api)
    claim    PENDING becomes STARTED; the worker gets the request   (denzel)
    finish   result, reply and callback are stored together         (denzel)
    detach   a synchronous wait ran out: the client polls from now  (api)
    cancel   PENDING becomes REVOKED                                (api)

The record is the hash `denzel:task:<id>`: status (Celery's state names), mode (sync, async, or poll after a wait
that ran out), request (JSON, until the task ends), result (JSON), message (a failure's, JSON), callback_uri,
reply_to, accepted, started, ended (unix seconds), worker, attempts, callback (JSON, how its delivery stands).
A record has no expiry until its task ends: nothing accepted is lost. Only commands up to Redis 6.2 are used.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from typing import Any

TASK = "denzel:task:"
OPEN = "denzel:open"
NODES = "denzel:nodes"
REPLIES = "denzel:replies:"
CALLBACKS = "denzel:callbacks"
CALLBACKS_WAKE = "denzel:callbacks:wake"
RESPONSE = "synchronous_timeout"  # Denzel's own key: seconds to wait, 0 = asynchronous
QUEUE = "denzel"

FINAL = frozenset({"SUCCESS", "FAILURE", "REVOKED"})

# A heartbeat older than this means that the worker is gone or stuck (seconds; one is written every second).
STALE = 5.0


class Script:
    """A Lua script, called by its digest; works with redis-py's synchronous and asyncio clients alike."""

    def __init__(self, source: str) -> None:
        self.source = _PRELUDE + source
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, client: Any, *arguments: Any) -> Any:
        """Run on a synchronous client; loads the script when the server does not know it."""
        from redis.exceptions import NoScriptError

        try:
            return client.evalsha(self.sha, 0, *arguments)
        except NoScriptError:
            return client.eval(self.source, 0, *arguments)

    async def call(self, client: Any, *arguments: Any) -> Any:
        """Run on an asyncio client; loads the script when the server does not know it."""
        from redis.exceptions import NoScriptError

        try:
            return await client.evalsha(self.sha, 0, *arguments)
        except NoScriptError:
            return await client.eval(self.source, 0, *arguments)


_PRELUDE = f"""
local TASK, OPEN, CALLBACKS, WAKE = '{TASK}', '{OPEN}', '{CALLBACKS}', '{CALLBACKS_WAKE}'
local function final(status) return status == 'SUCCESS' or status == 'FAILURE' or status == 'REVOKED' end

-- Ends a task: writes the outcome, starts its expiry and schedules its callback. Returns the channel that waits.
local function finish(id, status, result, message, now, sync_expires, expires)
    local key = TASK .. id
    local old = redis.call('HMGET', key, 'status', 'mode', 'reply_to', 'callback_uri')
    if not old[1] or final(old[1]) then return nil end
    redis.call('HSET', key, 'status', status, 'result', result, 'message', message, 'ended', now)
    redis.call('HDEL', key, 'request')
    redis.call('ZREM', OPEN, id)
    redis.call('EXPIRE', key, old[2] == 'sync' and sync_expires or expires)
    if old[2] == 'async' and old[4] and old[4] ~= '' then
        redis.call('ZADD', CALLBACKS, now, id)
        redis.call('PUBLISH', WAKE, id)
    end
    return old[2] == 'sync' and old[3] or nil
end
"""

# ARGV: now, most open tasks, default timeout, broker queue ('' = the caller publishes), message,
#       then for each task: id, request, mode (live|sync|async), callback_uri, reply_to.
# Returns the live setting in seconds as text, or a negative number of open tasks when the queue is full.
# Sending the same ids again changes nothing, so that a retry after a lost connection is safe.
_SUBMIT = Script("""
local now, most, queue = ARGV[1], tonumber(ARGV[2]), ARGV[4]
local live = redis.call('GET', 'synchronous_timeout') or ARGV[3]
if redis.call('EXISTS', TASK .. ARGV[6]) == 1 then return live end
local open = redis.call('ZCARD', OPEN)
if open + (#ARGV - 5) / 5 > most then return -open end
for i = 6, #ARGV, 5 do
    local id, mode = ARGV[i], ARGV[i + 2]
    if mode == 'live' then mode = tonumber(live) == 0 and 'async' or 'sync' end
    redis.call('HSET', TASK .. id, 'status', 'PENDING', 'request', ARGV[i + 1], 'mode', mode,
               'callback_uri', ARGV[i + 3], 'reply_to', ARGV[i + 4], 'accepted', now)
    redis.call('ZADD', OPEN, now, id)
end
if queue ~= '' then redis.call('LPUSH', queue, ARGV[5]) end
return live
""")

# ARGV: now, worker, ids... Returns for each id its request, or false when it is unknown or has ended.
_CLAIM = Script("""
local requests = {}
for i = 3, #ARGV do
    local key = TASK .. ARGV[i]
    local task = redis.call('HMGET', key, 'status', 'request', 'started')
    if task[1] and not final(task[1]) then
        redis.call('HSET', key, 'status', 'STARTED', 'worker', ARGV[2], 'started', task[3] or ARGV[1])
        redis.call('HINCRBY', key, 'attempts', 1)
        requests[#requests + 1] = task[2]
    else
        requests[#requests + 1] = false
    end
end
return requests
""")

# ARGV: now, expiry of synchronous records, expiry of the others, then for each task: id, status, result, message.
# Replies to one API process travel as one message: lines of `id status payload` (compact JSON has no newline).
_FINISH = Script("""
local replies = {}
for i = 4, #ARGV, 4 do
    local id, status = ARGV[i], ARGV[i + 1]
    local channel = finish(id, status, ARGV[i + 2], ARGV[i + 3], ARGV[1], ARGV[2], ARGV[3])
    if channel then
        local payload = status == 'SUCCESS' and ARGV[i + 2] or ARGV[i + 3]
        replies[channel] = replies[channel] or {}
        table.insert(replies[channel], id .. ' ' .. status .. ' ' .. payload)
    end
end
for channel, lines in pairs(replies) do redis.call('PUBLISH', channel, table.concat(lines, '\\n')) end
""")

# ARGV: id, expiry. Returns status, result and message when the task has ended meanwhile, else false.
_DETACH = Script("""
local key = TASK .. ARGV[1]
local task = redis.call('HMGET', key, 'status', 'result', 'message')
if not task[1] then return false end
if final(task[1]) then
    redis.call('EXPIRE', key, ARGV[2])
    return task
end
redis.call('HSET', key, 'mode', 'poll')
return false
""")

# ARGV: id, now, expiry of synchronous records, expiry of the others, result, message.
# Returns false when unknown, else the status found; PENDING means that it is REVOKED now.
_CANCEL = Script("""
local status = redis.call('HGET', TASK .. ARGV[1], 'status')
if status == 'PENDING' then
    local channel = finish(ARGV[1], 'REVOKED', ARGV[5], ARGV[6], ARGV[2], ARGV[3], ARGV[4])
    if channel then redis.call('PUBLISH', channel, ARGV[1] .. ' REVOKED ' .. ARGV[6]) end
end
return status
""")

# ARGV: name, heartbeat (JSON). The server's clock is used, so that the machines' clocks need not agree.
# Forgets workers that have been silent for a minute.
_BEAT = Script(f"""
local now = redis.call('TIME')[1]
redis.call('HSET', '{NODES}', ARGV[1], now .. ' ' .. ARGV[2])
local nodes = redis.call('HGETALL', '{NODES}')
for i = 1, #nodes, 2 do
    if tonumber(string.match(nodes[i + 1], '^%d+')) < now - 60 then redis.call('HDEL', '{NODES}', nodes[i]) end
end
""")

# ARGV: none. Returns the server's time, the number of open tasks, and the heartbeats.
_OVERVIEW = Script(f"""
return {{redis.call('TIME')[1], redis.call('ZCARD', OPEN), redis.call('HGETALL', '{NODES}')}}
""")


def new_task_id() -> str:
    """A fresh task id, a UUID as Celery's own."""
    return str(uuid.uuid4())


def submit_arguments(
    tasks: list[Any], *, max_queue: int, default_timeout: float, message: bytes, queue: str = QUEUE
) -> list[Any]:
    """The arguments of the submit script for tasks with id, request, mode, callback_uri and reply_to."""
    arguments: list[Any] = [f"{time.time():.3f}", max_queue, default_timeout, queue, message]
    for task in tasks:
        arguments += [task.id, task.request, task.mode, task.callback_uri or "", task.reply_to]
    return arguments


async def submit(client: Any, arguments: list[Any]) -> float:
    """Store tasks and their message; the live response setting in seconds, or minus the open tasks when full."""
    return float(await _SUBMIT.call(client, *arguments))


def claim(client: Any, worker: str, ids: list[str]) -> list[bytes | None]:
    """Start tasks: each one's request, or None when there is nothing to do for it (ended, cancelled, unknown)."""
    return _CLAIM(client, f"{time.time():.3f}", worker, *ids)


def finish(client: Any, outcomes: list[tuple[str, str, bytes, bytes]], sync_expires: int, expires: int) -> None:
    """End tasks, given as (id, status, result, message); answers who waits and schedules the callbacks."""
    flat = [value for outcome in outcomes for value in outcome]
    _FINISH(client, f"{time.time():.3f}", sync_expires, expires, *flat)


async def detach(client: Any, task_id: str, expires: int) -> list[bytes] | None:
    """A wait ran out: status, result and message if the task ended meanwhile, else None and it is polled from now."""
    return await _DETACH.call(client, task_id, expires) or None


async def cancel(client: Any, task_id: str, sync_expires: int, expires: int) -> str | None:
    """Cancel a task that has not started: the status it had, None when unknown."""
    result = b'{"args":["cancelled"],"type":"TaskRevokedError"}'
    status = await _CANCEL.call(
        client, task_id, f"{time.time():.3f}", sync_expires, expires, result, b'"the task was cancelled"'
    )
    return status.decode() if status else None


async def outcome(client: Any, task_id: str) -> list[bytes] | None:
    """Status, result and message of a task that has ended, else None."""
    found = await client.hmget(TASK + task_id, "status", "result", "message")
    return found if found[0] and found[0].decode() in FINAL else None


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
    if fields.get("attempts"):
        body["attempts"] = int(fields["attempts"])
    if fields.get("callback"):
        body["callback"] = json.loads(fields["callback"])
    elif fields.get("callback_uri") and fields.get("mode") == b"async":
        body["callback"] = {"state": "pending", "attempts": 0}
    return body


async def status(client: Any, task_id: str) -> dict[str, Any] | None:
    """The body of /status, None when the task is unknown."""
    record = await client.hgetall(TASK + task_id)
    return status_body(record) if record.get(b"status") else None


async def beat(client: Any, name: str, heartbeat: dict[str, Any]) -> None:
    """Say that a worker is there and how it is."""
    await _BEAT.call(client, name, json.dumps(heartbeat))


async def overview(client: Any) -> tuple[int, list[dict[str, Any]]]:
    """The number of open tasks, and the workers' heartbeats in the order of their names, each with `age` in seconds."""
    now, waiting, flat = await _OVERVIEW.call(client)
    nodes = []
    for name, value in zip(flat[::2], flat[1::2], strict=True):
        written, _, heartbeat = value.decode().partition(" ")
        nodes.append({"name": name.decode(), "age": int(now) - int(written), **json.loads(heartbeat)})
    return waiting, sorted(nodes, key=lambda node: (len(node["name"]), node["name"]))


async def response_timeout(client: Any, default: float) -> float:
    """The live response setting in seconds; 0 means asynchronous."""
    value = await client.get(RESPONSE)
    return default if value is None else float(value)
