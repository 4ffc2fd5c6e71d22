-- KEYS: none; the names of all keys stand in keys.py.
-- ARGV: most waiting tasks, most seconds that an asynchronous one may wait, default timeout, ticket queue, ticket,
--       then for each task: id, request ('': it was put beside), mode (live|sync|async), callback_uri, reply_to,
--       kept ('', or what it is known by when it comes again), wait (seconds, of a sync task), fault ('', alone: never
--       again with others; death: its process has died of it, too), origin (where it comes from, '' or see origin.py),
--       verify (microseconds, or '').
-- Returns the live setting in seconds as text, the number that wait, how many tickets it takes, 1 if nobody was woken
-- as a process will be back at once, and then of each that was refused: id, seconds of work that wait ('' if the queue
-- is full) and after how many seconds its client is to come again (0: its request is gone).
-- Sending the same ids again changes nothing, so that a retry after a lost connection is safe. Whoever waits for a task
-- that another has submitted, without waiting, is told like everybody.
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

local max_queue, max_wait_async, default_timeout, queue, ticket = unpack(ARGV, 1, 5)
max_wait_async = tonumber(max_wait_async)

local live, full, quick, measured = unpack(redis.call('MGET', RESPONSE, FULL, QUICK, SPEED))
local speed, call = string.match(measured or '', '^(%S+) (%S+)$')
speed, call = tonumber(speed or 0), tonumber(call or 0)
-- What is no number of seconds (Redis can be written to by others, too) counts as not set.
local number = tonumber(live or '')
live = number and number >= 0 and number < 1e9 and tostring(number) or default_timeout
local waiting = redis.call('LLEN', WAITING)
local count, room = (#ARGV - 5) / 10, tonumber(max_queue) - waiting
if full then return redis.error_reply('OOM Redis is almost full') end

-- Where nothing waits, an idle process gets its part at once: these tasks never enter the queue. Records are written
-- before anything else: a Redis that is full refuses the first write of a script, and then no other.
local idle, listed
if waiting == 0 and not quick then idle, listed = next_idle() end
local part = idle and portion(idle, count) or 0
local queued, ids, claimed, refused = {}, {}, {}, {}
local begun  -- counted at the first need

-- Whether there is room for a task; where there is not, also what to tell its client.
local function let_in(id, request, wait, kept)
    local ahead = waiting + #queued
    if #queued >= room then
        return false, '', speed > 0 and math.min(60, math.max(1, math.ceil(ahead / 10 / speed))) or 1
    end
    -- Far from any bound it need not be known exactly.
    if speed == 0 or ahead == 0 or ahead / speed + call < 0.25 * (wait > 0 and wait or max_wait_async) then
        return true
    end
    begun = begun or in_flight()
    local expected, after = refuse(id, kept ~= '' and kept or request, wait, max_wait_async, (ahead + begun) / speed,
                                   speed, call)
    return not expected, expected, after
end

for i = 6, #ARGV, 10 do
    local id, sent, mode, callback_uri, reply_to, kept, wait, fault, origin, verify = unpack(ARGV, i, i + 9)
    local key = TASK .. id
    if mode == 'live' then
        mode = tonumber(live) == 0 and 'async' or 'sync'
        wait = live
    end
    wait = mode == 'sync' and tonumber(wait) or 0
    local exists = redis.call('EXISTS', key) == 1
    local accepted, expected, after, request, beside = true, nil, nil, nil, nil
    if not exists then
        request, beside = beside_or_not(id, sent)
        if not request then
            accepted, expected, after = false, '', 0
        elseif #ids >= part then
            accepted, expected, after = let_in(id, sent, wait, kept)
        end
    end
    if exists then
        if reply_to ~= '' then join(id, reply_to) end
        if sent == '' then still_beside(id) end
    elseif not accepted then
        if sent == '' then redis.call('DEL', REQUEST .. id) end
        for _, value in ipairs({id, tostring(expected), after}) do refused[#refused + 1] = value end
    else
        local record = {'status', 'PENDING', 'request', request, 'mode', mode, 'callback_uri', callback_uri,
                        'reply_to', reply_to, 'accepted', now}
        local function add(name, value) record[#record + 1] = name record[#record + 1] = value end
        if kept ~= '' then add('kept', 1) end
        if beside then add('beside', 1) end
        if origin ~= '' then add('origin', origin) end
        if verify ~= '' then add('verify', verify) end
        if fault ~= '' then add('alone', 1) add('attempts', 1) end
        if fault == 'death' then add('deaths', 1) end
        -- A wait that may outlive its API process: see `nobody_waits`.
        if wait > LEASE then add('until', string.format('%.6f', tonumber(now) + wait)) end
        if #ids < part and fault == '' then
            record[2] = 'STARTED'
            add('worker', idle.node) add('token', idle.token) add('started', now) add('attempts', 1) add('handed', 1)
            ids[#ids + 1] = id
            claimed[#claimed + 1] = id
            claimed[#claimed + 1] = request
            claimed[#claimed + 1] = origin
        else
            queued[#queued + 1] = id
        end
        redis.call('HSET', key, unpack(record))
        if beside then keep_request(id) elseif sent == '' then redis.call('DEL', REQUEST .. id) end
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
local tickets = wake(count - #refused / 3, processes(), queue, ticket)
return {live, waiting, tickets, 0, unpack(refused)}
