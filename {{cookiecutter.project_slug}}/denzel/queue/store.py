"""What is kept in Redis: a record per task, who waits, who runs, the live response setting, the heartbeats.

Each step of a task's life is one Lua script, so that it happens whole or not at all, in one round trip:

    submit   the record, its place in the queue and the message appear together              (api)
    work     a worker's answers, replies and callbacks are stored; it claims the next tasks  (denzel)
    nudge    tasks that were held back for a process that would be back at once: it is not     (api)
    beat     once a second: lost claims return to the queue, delayed tasks become due        (denzel)
    release  a process died: its claims return at once                                       (denzel)
    detach   a synchronous wait ran out: the client polls from now                           (api)
    cancel   PENDING or STARTED becomes REVOKED                                              (api)

The record is the hash `denzel:task:<id>`: status (Celery's state names), mode (sync, async, or poll after a wait
that ran out), request (JSON, until the task ends), result (JSON), message (a failure's, JSON), callback_uri,
reply_to, kept (1: however it is answered, its result lives as long as an asynchronous one), accepted, started, ended
(unix seconds), worker and token (who runs it), attempts (starts), deaths (processes that died of it alone), losses
(the same where the whole container was gone), alone (1: never again together with others), callback (JSON, how its
delivery stands). A record has no expiry until its task ends: nothing accepted is lost.

Tasks wait in the list `denzel:waiting`. A process that runs some holds them in the set `denzel:claims:<token>`; the
token stands for one life of one process, and `denzel:alive:<token>` says that it lives.

A process that has just found nothing to do stays for a moment and is listed in `denzel:idle`; the next task is claimed
for it in the script that submits the task, and handed over through the list `denzel:hand:<token>`. Otherwise a Celery
message wakes a worker. It is only a ticket: which tasks the worker gets is decided when it claims them, so no task
waits behind another while a worker is idle, and a lost or repeated message does no harm. Whenever tasks wait and no
ticket does, `work` and `beat` write one.

Where a pipeline merges requests and its calls are short, `denzel:quick` says for some milliseconds that a process will
be back at once and take all that waits: one call for many is cheaper than several small ones at the same time. Then
nobody is woken. Should the process take longer after all, the API's `nudge` wakes another.

Only commands up to Redis 6.2 are used, and the server's clock, so that the machines' clocks need not agree.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from redis.exceptions import NoScriptError

from denzel.record import FINAL, status_body

TASK = "denzel:task:"
WAITING = "denzel:waiting"
DELAYED = "denzel:delayed"
CLAIMS = "denzel:claims:"
CLAIMANTS = "denzel:claimants"
ALIVE = "denzel:alive:"
IDLE = "denzel:idle"
HAND = "denzel:hand:"
QUICK = "denzel:quick"
PROCESSES = "denzel:processes"
NODES = "denzel:nodes"
DEAD = "denzel:dead"
KEYS = "denzel:idempotency:"
FULL = "denzel:full"
REPLIES = "denzel:replies:"
CANCELLED = "denzel:cancelled"
CALLBACKS = "denzel:callbacks"
CALLBACKS_WAKE = "denzel:callbacks:wake"
RESPONSE = "synchronous_timeout"  # Denzel's own key: seconds to wait, 0 = asynchronous
QUEUE = "denzel"  # the Celery queue, where the tickets lie


# A heartbeat older than this means that the worker is gone or stuck (seconds; one is written every second).
STALE = 5
# A process is believed dead when nobody has vouched for it for this long (seconds).
LEASE = 5
# Calls that take less (seconds) are waited for rather than that another process is woken.
SHORT_CALL = 0.002
# For so long (milliseconds) after a process began a short call, it is believed to be back at once.
_QUICK_FOR = 5
# A task that took this many processes with it, each time alone, ends as FAILURE.
MAX_DEATHS = 3
# The same where nobody was left to say how the process ended: the whole container was gone, perhaps for another reason.
MAX_LOSSES = 10


class Script:
    """A Lua script, called by its digest; works with redis-py's synchronous and asyncio clients alike."""

    def __init__(self, source: str) -> None:
        self.source = _PRELUDE + source
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, client: Any, *arguments: Any) -> Any:
        """Run on a synchronous client; loads the script when the server does not know it."""
        try:
            return client.evalsha(self.sha, 0, *arguments)
        except NoScriptError:
            return client.eval(self.source, 0, *arguments)

    async def call(self, client: Any, *arguments: Any) -> Any:
        """Run on an asyncio client; loads the script when the server does not know it."""
        try:
            return await client.evalsha(self.sha, 0, *arguments)
        except NoScriptError:
            return await client.eval(self.source, 0, *arguments)


_PRELUDE = (
    f"""
local TASK, WAITING, DELAYED, CLAIMS = '{TASK}', '{WAITING}', '{DELAYED}', '{CLAIMS}'
local CLAIMANTS, ALIVE, PROCESSES, NODES = '{CLAIMANTS}', '{ALIVE}', '{PROCESSES}', '{NODES}'
local CALLBACKS, CALLBACKS_WAKE, CANCELLED = '{CALLBACKS}', '{CALLBACKS_WAKE}', '{CANCELLED}'
local DEAD, FULL, IDLE, HAND, QUICK = '{DEAD}', '{FULL}', '{IDLE}', '{HAND}', '{QUICK}'
local STALE, LEASE, QUICK_FOR = {STALE}, {LEASE}, {_QUICK_FOR}
local MAX_DEATHS, MAX_LOSSES = {MAX_DEATHS}, {MAX_LOSSES}
"""
    + """
local time = redis.call('TIME')
local seconds = tonumber(time[1])
local now = string.format('%d.%06d', seconds, tonumber(time[2]))

local function final(status) return status == 'SUCCESS' or status == 'FAILURE' or status == 'REVOKED' end

local woken = false  -- one message wakes the sender of callbacks for all tasks of a script

-- Ends a task: writes the outcome, starts its expiry and schedules its callback. Returns the channel that waits.
-- A task that is to be kept leaves its request, so that it can be run again.
local function finish(id, status, result, message, sync_expires, expires, keep)
    local key = TASK .. id
    local old = redis.call('HMGET', key, 'status', 'mode', 'reply_to', 'callback_uri', 'kept')
    if not old[1] or final(old[1]) then return nil end
    -- What is not needed any longer is emptied rather than removed: that saves a command.
    local done = {'status', status, 'result', result, 'ended', now, 'reply_to', '', 'token', ''}
    if message ~= '' then done[#done + 1] = 'message' done[#done + 1] = message end
    if not keep then done[#done + 1] = 'request' done[#done + 1] = '' end
    redis.call('HSET', key, unpack(done))
    if keep then
        redis.call('ZADD', DEAD, seconds, id)
        redis.call('ZREMRANGEBYSCORE', DEAD, '-inf', seconds - expires)
    end
    if old[2] ~= 'async' or not old[4] or old[4] == '' then
        redis.call('EXPIRE', key, (old[2] ~= 'sync' or keep or old[5]) and expires or sync_expires)
    else
        -- The record must outlive its callback: the sender starts the expiry when that has ended.
        redis.call('ZADD', CALLBACKS, now, id)
        if not woken then redis.call('PUBLISH', CALLBACKS_WAKE, id) end
        woken = true
    end
    return old[2] == 'sync' and old[3] or nil
end

-- Tells an API process how tasks ended that it waits for, in lines of `id status payload`. Where nobody listens, the
-- process has gone, or is cut off: it may have told the client to poll and could not say so, so these records are kept.
local function reply(channel, lines, expires)
    if redis.call('PUBLISH', channel, table.concat(lines, '\\n')) > 0 then return end
    for _, line in ipairs(lines) do redis.call('EXPIRE', TASK .. string.match(line, '^%S+'), expires) end
end

local function end_now(id, status, result, message, sync_expires, expires, keep)
    local channel = finish(id, status, result, message, sync_expires, expires, keep)
    if channel then reply(channel, {id .. ' ' .. status .. ' ' .. message}, expires) end
end

local function processes() return math.max(1, tonumber(redis.call('GET', PROCESSES) or 1)) end

-- A process as it lists itself when it is idle: `token node most share quick`.
local function claimant(text)
    local token, node, most, share, quick = string.match(text, '^(%S+) (%S+) (%d+) (%d) (%d)$')
    return {token = token, node = node, most = tonumber(most), share = share == '1', quick = quick == '1'}
end

-- How many of so many waiting tasks a process should claim.
local function portion(of, waiting)
    return of.share and math.min(of.most, math.ceil(waiting / processes())) or of.most
end

local function note_claims(of, ids)
    redis.call('SADD', CLAIMS .. of.token, unpack(ids))
    redis.call('SADD', CLAIMANTS, of.token)
    if of.quick then redis.call('SET', QUICK, of.token, 'PX', QUICK_FOR) end
end

-- Claims what waits for a process. Returns id, request, id, request, ...
-- A task that is to run alone comes alone.
local function claim(of)
    local claimed, ids = {}, {}
    local most = of.share and portion(of, redis.call('LLEN', WAITING)) or of.most
    local taken = most > 0 and redis.call('RPOP', WAITING, most) or {}
    for position, id in ipairs(taken) do
        local key = TASK .. id
        local task = redis.call('HMGET', key, 'status', 'request', 'started', 'alone', 'attempts')
        if task[1] and not final(task[1]) then
            if task[4] and #ids > 0 then
                for rest = #taken, position, -1 do redis.call('RPUSH', WAITING, taken[rest]) end
                break
            end
            redis.call('HSET', key, 'status', 'STARTED', 'worker', of.node, 'token', of.token,
                       'started', task[3] or now, 'attempts', (task[5] or 0) + 1)
            ids[#ids + 1] = id
            claimed[#claimed + 1] = id
            claimed[#claimed + 1] = task[2]
            if task[4] then
                for rest = #taken, position + 1, -1 do redis.call('RPUSH', WAITING, taken[rest]) end
                break
            end
        end
    end
    if #ids > 0 then note_claims(of, ids) end
    return claimed
end

-- A process that is idle and lives, and how it is listed; nil when there is none.
local function next_idle()
    for _, text in ipairs(redis.call('LRANGE', IDLE, 0, -1)) do
        local idle = claimant(text)
        if redis.call('EXISTS', ALIVE .. idle.token) == 1 then return idle, text end
    end
end

-- Puts claimed tasks into a process's hand: the number that wait still, then lines of `id request`.
local function hand(to, waiting, claimed)
    local lines = {waiting}
    for i = 1, #claimed, 2 do lines[#lines + 1] = claimed[i] .. ' ' .. claimed[i + 1] end
    redis.call('RPUSH', HAND .. to.token, table.concat(lines, '\\n'))
end

-- Wakes workers for waiting tasks: idle ones are handed what they want, for the rest so many tickets are written, as
-- long as there are no more than there are processes to take them. Returns how many tickets it takes, and how many
-- tasks wait; the queue is '' where tickets travel through another broker.
local function wake(tickets, most, queue, ticket)
    local waiting = redis.call('LLEN', WAITING)
    while waiting > 0 do
        local idle, listed = next_idle()
        if not idle then break end
        redis.call('LREM', IDLE, 1, listed)
        local claimed = claim(idle)
        waiting = redis.call('LLEN', WAITING)
        hand(idle, waiting, claimed)
    end
    tickets = math.min(tickets, waiting)
    if queue ~= '' and tickets > 0 then
        for _ = 1, math.min(tickets, most - redis.call('LLEN', queue)) do redis.call('LPUSH', queue, ticket) end
    end
    return tickets, waiting
end

-- The process behind a token is dead: what it had claimed waits again, in front. Tasks that ran together run alone
-- from now, so that the one that killed the process is found; that one is tried again after growing delays, a bounded
-- number of times: how it died says which field counts, and up to what. Nothing counts when the process was stopped for
-- a reason of ours.
local DEATH, LOSS = {'deaths', MAX_DEATHS, 'died'}, {'losses', MAX_LOSSES, 'was lost with its container'}

local function give_back(token, sync_expires, expires, how)
    redis.call('DEL', HAND .. token)
    local ids = redis.call('SMEMBERS', CLAIMS .. token)
    redis.call('DEL', CLAIMS .. token)
    redis.call('SREM', CLAIMANTS, token)
    for _, id in ipairs(ids) do
        local key = TASK .. id
        local status = redis.call('HGET', key, 'status')
        if status and not final(status) then
            redis.call('HSET', key, 'status', 'PENDING')
            local times = 0
            if how then
                redis.call('HSET', key, 'alone', '1')
                if #ids == 1 then times = redis.call('HINCRBY', key, how[1], 1) end
            end
            if how and times >= how[2] then
                local reason = 'the process that ran this task ' .. how[3] .. ', ' .. times .. ' times'
                end_now(id, 'FAILURE', '{"args":["' .. reason .. '"],"type":"WorkerLostError"}',
                        '"' .. reason .. '"', sync_expires, expires, true)
            elseif times > 1 then
                redis.call('ZADD', DELAYED, seconds + math.min(60, 2 ^ (times - 1)), id)
            else
                redis.call('RPUSH', WAITING, id)
            end
        end
    end
end
"""
)

# ARGV: most waiting tasks, default timeout, ticket queue, ticket,
#       then for each task: id, request, mode (live|sync|async), callback_uri, reply_to, kept (1 or '').
# Returns the live setting in seconds as text, the number that wait, how many tickets it takes, 1 if nobody was woken as
# a process will be back at once, and then the ids of those that were refused: the queue is full.
# Sending the same ids again changes nothing, so that a retry after a lost connection is safe. Whoever waits for a task
# that another has submitted, without waiting, is told like everybody.
_SUBMIT = Script("""
-- Lets an API process wait for a task that is there already.
local function join(id, channel)
    local key = TASK .. id
    local status, mode, known, result, message = unpack(
        redis.call('HMGET', key, 'status', 'mode', 'reply_to', 'result', 'message'))
    if mode ~= 'sync' or (known and known ~= '') then return end
    if not final(status) then
        redis.call('HSET', key, 'reply_to', channel)
    else
        redis.call('PUBLISH', channel, id .. ' ' .. status .. ' ' .. (status == 'SUCCESS' and result or message))
    end
end

local live, full, quick = unpack(redis.call('MGET', 'synchronous_timeout', FULL, QUICK))
-- What is no number of seconds (Redis can be written to by others, too) counts as not set.
local number = tonumber(live or '')
live = number and number >= 0 and number < 1e9 and tostring(number) or ARGV[2]
local waiting = redis.call('LLEN', WAITING)
local count, room = (#ARGV - 4) / 6, tonumber(ARGV[1]) - waiting
if full then return redis.error_reply('OOM Redis is almost full') end

-- Where nothing waits, an idle process gets its part at once: these tasks never enter the queue. Records are written
-- before anything else: a Redis that is full refuses the first write of a script, and then no other.
local idle, listed
if waiting == 0 and not quick then idle, listed = next_idle() end
local part = idle and portion(idle, count) or 0
local queued, ids, claimed, refused = {}, {}, {}, {}
for i = 5, #ARGV, 6 do
    local id, request, mode = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    local key = TASK .. id
    if redis.call('EXISTS', key) == 1 then
        if ARGV[i + 4] ~= '' then join(id, ARGV[i + 4]) end
    elseif #ids >= part and #queued >= room then
        refused[#refused + 1] = id
    else
        if mode == 'live' then mode = tonumber(live) == 0 and 'async' or 'sync' end
        local record = {'status', 'PENDING', 'request', request, 'mode', mode, 'callback_uri', ARGV[i + 3],
                        'reply_to', ARGV[i + 4], 'accepted', now}
        local function add(name, value) record[#record + 1] = name record[#record + 1] = value end
        if ARGV[i + 5] ~= '' then add('kept', ARGV[i + 5]) end
        if #ids < part then
            record[2] = 'STARTED'
            add('worker', idle.node) add('token', idle.token) add('started', now) add('attempts', 1)
            ids[#ids + 1] = id
            claimed[#claimed + 1] = id
            claimed[#claimed + 1] = request
        else
            queued[#queued + 1] = id
        end
        redis.call('HSET', key, unpack(record))
    end
end
if #queued > 0 then redis.call('LPUSH', WAITING, unpack(queued)) end
if #ids > 0 then
    redis.call('LREM', IDLE, 1, listed)
    note_claims(idle, ids)
    hand(idle, #queued, claimed)
end
waiting = waiting + #queued
if quick or waiting == 0 then return {live, waiting, 0, quick and 1 or 0, unpack(refused)} end
-- One ticket for each task, as long as there is a process to take it.
local tickets = wake(count - #refused, processes(), ARGV[3], ARGV[4])
return {live, waiting, tickets, 0, unpack(refused)}
""")

# ARGV: ticket queue, ticket. Returns the same last two numbers as a submission.
_NUDGE = Script("""
if redis.call('EXISTS', QUICK) == 1 then return {0, 1} end
local tickets = wake(processes(), processes(), ARGV[1], ARGV[2])
return {tickets, 0}
""")

# ARGV: token, node, most tasks to claim (-1: some of those claimed before are still to be run),
#       share (1: leave the other processes their part), ticket queue, ticket,
#       expiry of synchronous records, expiry of the others,
#       quick (1: the process will be back at once), how it was listed as idle ('': not),
#       how it is to be listed if there is nothing to do ('': not),
#       then for each ended task: id, status, result, message.
# Replies to one API process travel as one message: lines of `id status payload` (compact JSON has no newline).
# Returns the number that wait still, then the claimed tasks: id, request, ...
_WORK = Script("""
local token, most = ARGV[1], tonumber(ARGV[3])
local claims = CLAIMS .. token
local replies, ended = {}, {}
for i = 12, #ARGV, 4 do
    local id, status = ARGV[i], ARGV[i + 1]
    local channel = finish(id, status, ARGV[i + 2], ARGV[i + 3], ARGV[7], ARGV[8])
    if channel then
        local payload = status == 'SUCCESS' and ARGV[i + 2] or ARGV[i + 3]
        replies[channel] = replies[channel] or {}
        table.insert(replies[channel], id .. ' ' .. status .. ' ' .. payload)
    end
    ended[#ended + 1] = id
end
for channel, lines in pairs(replies) do reply(channel, lines, ARGV[8]) end
if #ended > 0 then redis.call('SREM', claims, unpack(ended)) end
if most < 0 then return {0} end

if ARGV[10] ~= '' then
    redis.call('LREM', IDLE, 0, ARGV[10])
    redis.call('DEL', HAND .. token)
end
-- Claims that are left were not run: the answer that handed them out never arrived, or the process is to stop.
for _, id in ipairs(redis.call('SMEMBERS', claims)) do
    redis.call('SREM', claims, id)
    if redis.call('HGET', TASK .. id, 'status') == 'STARTED' then
        redis.call('HSET', TASK .. id, 'status', 'PENDING')
        redis.call('HINCRBY', TASK .. id, 'attempts', -1)
        redis.call('RPUSH', WAITING, id)
    end
end

local quick = ARGV[9] == '1'
local claimed = claim({token = token, node = ARGV[2], most = most, share = ARGV[4] == '1', quick = quick})
if #claimed == 0 then
    redis.call('SREM', CLAIMANTS, token)
    if quick and redis.call('GET', QUICK) == token then redis.call('DEL', QUICK) end
    if ARGV[11] ~= '' then redis.call('LPUSH', IDLE, ARGV[11]) end
end
local _, waiting = wake(1, 1, ARGV[5], ARGV[6])
return {waiting, unpack(claimed)}
""")

# ARGV: name, heartbeat (JSON with `up`, its processes that serve), ticket queue, ticket,
#       expiry of synchronous records, expiry of the others, almost full (1: accept no more),
#       then the tokens of the living processes.
# Returns 1 when tasks wait, so that a ticket can be sent through another broker.
_BEAT = Script("""
redis.call('HSET', NODES, ARGV[1], seconds .. ' ' .. ARGV[2])
local processes = 0
local nodes = redis.call('HGETALL', NODES)
for i = 1, #nodes, 2 do
    local written, heartbeat = string.match(nodes[i + 1], '^(%d+) (.*)$')
    if tonumber(written) < seconds - 60 then
        redis.call('HDEL', NODES, nodes[i])
    elseif tonumber(written) >= seconds - STALE then
        processes = processes + cjson.decode(heartbeat).up
    end
end
redis.call('SET', PROCESSES, processes)

for i = 8, #ARGV do redis.call('SET', ALIVE .. ARGV[i], 1, 'EX', LEASE) end
for _, text in ipairs(redis.call('LRANGE', IDLE, 0, -1)) do
    if redis.call('EXISTS', ALIVE .. claimant(text).token) == 0 then redis.call('LREM', IDLE, 0, text) end
end
if ARGV[7] == '1' then redis.call('SET', FULL, 1, 'EX', LEASE) end
-- Silence of all (Redis was away) proves nobody's death: everyone gets the time to vouch again.
local last = tonumber(redis.call('GET', 'denzel:last_beat') or 0)
if seconds - last > 2 then redis.call('SET', 'denzel:amnesty', 1, 'EX', LEASE + 1) end
redis.call('SET', 'denzel:last_beat', seconds)
if redis.call('EXISTS', 'denzel:amnesty') == 0 then
    for _, token in ipairs(redis.call('SMEMBERS', CLAIMANTS)) do
        if redis.call('EXISTS', ALIVE .. token) == 0 then give_back(token, ARGV[5], ARGV[6], LOSS) end
    end
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', DELAYED, '-inf', now, 'LIMIT', 0, 1000)) do
    redis.call('ZREM', DELAYED, id)
    redis.call('RPUSH', WAITING, id)
end
local tickets = wake(1, 1, ARGV[3], ARGV[4])
return tickets
""")

# ARGV: token, ticket queue, ticket, expiry of synchronous records, expiry of the others,
#       blameless (1: it was not a task that ended the process).
_RELEASE = Script("""
redis.call('DEL', ALIVE .. ARGV[1])
give_back(ARGV[1], ARGV[4], ARGV[5], ARGV[6] ~= '1' and DEATH or nil)
local tickets = wake(1, 1, ARGV[2], ARGV[3])
return tickets
""")

# ARGV: token, id, result, message, expiry of synchronous records, expiry of the others.
# The process runs over its time. Alone, its task ends so; of a merged call none does: they run apart, each by itself.
_TIME_OUT = Script("""
local claims = CLAIMS .. ARGV[1]
if redis.call('SCARD', claims) == 1 and redis.call('SISMEMBER', claims, ARGV[2]) == 1 then
    end_now(ARGV[2], 'FAILURE', ARGV[3], ARGV[4], ARGV[5], ARGV[6], true)
end
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

# ARGV: id, expiry of synchronous records, expiry of the others, result, message.
# Returns false when unknown, else the status found; unless that was final, the task is REVOKED now. A process that
# runs it, and nothing else, is named to the supervisors, which stop it.
_CANCEL = Script("""
local task = redis.call('HMGET', TASK .. ARGV[1], 'status', 'token')
if not task[1] or final(task[1]) then return task[1] end
end_now(ARGV[1], 'REVOKED', ARGV[4], ARGV[5], ARGV[2], ARGV[3])
redis.call('LREM', WAITING, 1, ARGV[1])
redis.call('ZREM', DELAYED, ARGV[1])
if task[1] == 'STARTED' and task[2] then
    local claims = CLAIMS .. task[2]
    if redis.call('SISMEMBER', claims, ARGV[1]) == 1 and redis.call('SCARD', claims) == 1 then
        redis.call('PUBLISH', CANCELLED, task[2] .. ' ' .. ARGV[1])
    end
end
return task[1]
""")

# ARGV: id. Returns false when the task cannot be run again.
_REPLAY = Script("""
local key = TASK .. ARGV[1]
redis.call('ZREM', DEAD, ARGV[1])
local task = redis.call('HMGET', key, 'status', 'request', 'mode')
if task[1] ~= 'FAILURE' or not task[2] or task[2] == '' then return false end
redis.call('HDEL', key, 'result', 'message', 'ended', 'started', 'deaths', 'losses', 'callback')
redis.call('HSET', key, 'status', 'PENDING', 'alone', '1', 'mode', task[3] == 'async' and 'async' or 'poll')
redis.call('ZREM', CALLBACKS, ARGV[1])
redis.call('PERSIST', key)
redis.call('LPUSH', WAITING, ARGV[1])
return 1
""")

# Returns the server's time, the number of waiting tasks, and the heartbeats.
_OVERVIEW = Script("""
return {seconds, redis.call('LLEN', WAITING) + redis.call('ZCARD', DELAYED), redis.call('HGETALL', NODES)}
""")


@dataclass(frozen=True, slots=True)
class Terms:
    """What the scripts need to know of the service's settings.

    Attributes:
        ticket_queue: the Redis list of the Celery queue; empty where tickets travel through another broker.
        ticket: the message that wakes a worker.
        sync_expires: seconds that the record of an answered synchronous task lives.
        expires: seconds that the other records live after their end.
    """

    ticket_queue: str
    ticket: bytes
    sync_expires: int
    expires: int


class Submitted(NamedTuple):
    """What became of tasks that were submitted.

    Attributes:
        live: the live response setting in seconds, 0 means asynchronous.
        waiting: how many tasks wait now.
        tickets: how many tickets it takes; they are written already unless they travel through another broker.
        held_back: nobody was woken, as a process will be back at once; `nudge` has to make sure.
        refused: the ids of those for which there was no room.
    """

    live: float
    waiting: int
    tickets: int
    held_back: bool
    refused: frozenset[str] = frozenset()


async def submit(client: Any, terms: Terms, tasks: Sequence[Any], max_queue: int, default_timeout: float) -> Submitted:
    """Store tasks (with id, request, mode, callback_uri, reply_to and kept) and wake workers for them."""
    arguments: list[Any] = [max_queue, default_timeout, terms.ticket_queue, terms.ticket]
    for task in tasks:
        kept = "1" if task.kept else ""
        arguments += (task.id, task.request, task.mode, task.callback_uri or "", task.reply_to, kept)
    live, waiting, tickets, held_back, *refused = await _SUBMIT.call(client, *arguments)
    return Submitted(float(live), waiting, tickets, bool(held_back), frozenset(map(bytes.decode, refused)))


async def nudge(client: Any, terms: Terms) -> tuple[int, bool]:
    """Wake workers for tasks that were held back, unless a process is still quick.

    Returns: how many tickets it takes, and whether tasks are still held back.
    """
    tickets, held_back = await _NUDGE.call(client, terms.ticket_queue, terms.ticket)
    return tickets, bool(held_back)


@dataclass(slots=True)
class Claimant:
    """A prediction process as the scripts know it.

    Attributes:
        token: this life of this process.
        node: the name that /status shows.
        most: claim at most so many tasks.
        share: leave the other processes their part of what waits.
        quick: it is back at once when it has claimed tasks.
        listed: how it is listed as idle; empty when it is not.
    """

    token: str
    node: str
    most: int = 1
    share: bool = False
    quick: bool = False
    listed: str = ""


# Claimed tasks (id, request), and how many wait still.
Claimed = tuple[list[tuple[str, bytes]], int]


def work(
    client: Any,
    terms: Terms,
    claimant: Claimant,
    ended: Sequence[tuple[str, str, bytes, bytes]],
    most: int | None = None,
    stay: bool = False,
) -> Claimed:
    """Store how tasks ended (id, status, result, message) and claim the next ones.

    Args:
        most: claim at most so many, if not as the claimant says; -1 while some of those claimed before are still to be
            run.
        stay: if there is nothing to do, the claimant is going to call `wait_for_tasks`.
    """
    most = claimant.most if most is None else most
    idle = ""
    if stay:
        share, quick = int(claimant.share), int(claimant.quick)
        idle = f"{claimant.token} {claimant.node} {claimant.most} {share} {quick}"
    arguments = [
        claimant.token,
        claimant.node,
        most,
        int(claimant.share),
        terms.ticket_queue,
        terms.ticket,
        terms.sync_expires,
        terms.expires,
        int(claimant.quick),
        claimant.listed,
        idle,
    ]
    for outcome in ended:
        arguments += outcome
    try:
        waiting, *flat = _WORK(client, *arguments)
    except BaseException:
        claimant.listed = idle or claimant.listed  # it may have been done, though the answer never came
        raise
    if most >= 0:
        claimant.listed = "" if flat else idle
    return [(task_id.decode(), request) for task_id, request in zip(flat[::2], flat[1::2], strict=True)], waiting


def wait_for_tasks(client: Any, claimant: Claimant, seconds: float) -> Claimed | None:
    """What is handed to an idle process within so many seconds; takes a `WorkerRedis`."""
    handed = client.wait(HAND + claimant.token, seconds)
    if handed is None:
        return None
    claimant.listed = ""
    waiting, *lines = handed.split(b"\n")
    tasks = [line.split(b" ", 1) for line in lines]
    return [(task_id.decode(), request) for task_id, request in tasks], int(waiting)


async def beat(
    client: Any, terms: Terms, name: str, heartbeat: dict[str, Any], tokens: Sequence[str], full: bool
) -> bool:
    """Say that a node and its processes live, and put right what has gone wrong; True when tasks wait.

    Args:
        tokens: of the processes that live.
        full: Redis has hardly any memory left: accept no tasks, so that the answers still find room.
    """
    arguments = [
        name,
        json.dumps(heartbeat),
        terms.ticket_queue,
        terms.ticket,
        terms.sync_expires,
        terms.expires,
        int(full),
    ]
    return bool(await _BEAT.call(client, *arguments, *tokens))


async def release(client: Any, terms: Terms, token: str, blameless: bool = False) -> bool:
    """The process with this token has ended: its tasks wait again; True when tasks wait.

    Args:
        blameless: it was stopped on purpose, so this does not count against the task that it ran.
    """
    arguments = [token, terms.ticket_queue, terms.ticket, terms.sync_expires, terms.expires, int(blameless)]
    return bool(await _RELEASE.call(client, *arguments))


async def is_cancelled(client: Any, token: str, task_id: str) -> bool:
    """Whether the process with this token runs a cancelled task, and nothing else."""
    async with client.pipeline(transaction=False) as pipeline:
        status, claims = await pipeline.hget(TASK + task_id, "status").smembers(CLAIMS + token).execute()
    return status == b"REVOKED" and claims == {task_id.encode()}


async def time_out(client: Any, terms: Terms, token: str, task_id: str, seconds: float) -> None:
    """End a task as a failure because its process, about to be killed, ran it for longer than allowed."""
    reason = f"timed out after {seconds:g} s"
    result = json.dumps({"args": [reason], "type": "TimeLimitExceeded"})
    await _TIME_OUT.call(client, token, task_id, result, json.dumps(reason), terms.sync_expires, terms.expires)


async def detach(client: Any, terms: Terms, task_id: str) -> list[bytes] | None:
    """A wait ran out: status, result and message if the task ended meanwhile, else None and it is polled from now."""
    return await _DETACH.call(client, task_id, terms.expires) or None


async def cancel(client: Any, terms: Terms, task_id: str) -> str | None:
    """Cancel a task: the status it had, None when unknown; it is REVOKED now unless it had ended."""
    result = b'{"args":["cancelled"],"type":"TaskRevokedError"}'
    message = b'"The task was cancelled."'
    status = await _CANCEL.call(client, task_id, terms.sync_expires, terms.expires, result, message)
    return status.decode() if status else None


async def reserve(client: Any, key: str, digest: str, task_id: str, seconds: int) -> tuple[str, str]:
    """Bind a client's idempotency key to a task id, unless it is bound already; the id and the digest it has now."""
    name = KEYS + hashlib.sha256(key.encode()).hexdigest()
    await client.set(name, f"{task_id} {digest}", nx=True, ex=seconds)
    bound = await client.get(name)
    known_id, _, known_digest = (bound.decode() if bound else f"{task_id} {digest}").partition(" ")
    return known_id, known_digest


def dead(client: Any) -> list[tuple[str, dict[str, Any], str]]:
    """The tasks that were given up and can be run again: id, the body of /status, the request (JSON)."""
    found = []
    for task_id in client.zrange(DEAD, 0, -1):
        record = client.hgetall(TASK + task_id.decode())
        if record.get(b"status") == b"FAILURE" and record.get(b"request"):
            found.append((task_id.decode(), status_body(record), record[b"request"].decode()))
        else:
            client.zrem(DEAD, task_id)  # expired
    return found


def replay(client: Any, task_id: str) -> bool:
    """Queue a task again that was given up; False when there is no such task."""
    return bool(_REPLAY(client, task_id))


async def outcome(client: Any, task_id: str) -> list[bytes] | None:
    """Status, result and message of a task that has ended and that somebody may wait for, else None."""
    *found, mode = await client.hmget(TASK + task_id, "status", "result", "message", "mode")
    return found if found[0] and found[0].decode() in FINAL and mode != b"async" else None


async def status(client: Any, task_id: str) -> dict[str, Any] | None:
    """The body of /status, None when the task is unknown."""
    record = await client.hgetall(TASK + task_id)
    return status_body(record) if record.get(b"status") else None


async def overview(client: Any) -> tuple[int, list[dict[str, Any]]]:
    """The number of waiting tasks, and the nodes' heartbeats by name, each with its `age` in seconds."""
    now, waiting, flat = await _OVERVIEW.call(client)
    nodes = []
    for name, value in zip(flat[::2], flat[1::2], strict=True):
        written, _, heartbeat = value.decode().partition(" ")
        nodes.append({"name": name.decode(), "age": int(now) - int(written), **json.loads(heartbeat)})
    return waiting, sorted(nodes, key=lambda node: (len(node["name"]), node["name"]))


async def response_timeout(client: Any, default: float) -> float:
    """The live response setting in seconds; 0 means asynchronous."""
    value = await client.get(RESPONSE)
    try:
        seconds = float(value) if value is not None else default
    except ValueError:
        return default
    return seconds if 0 <= seconds < 1e9 else default
