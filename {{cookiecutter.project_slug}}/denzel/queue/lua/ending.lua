-- The beginning of every script: the time, and how a task ends. The constants in capitals come from keys.py.
local time = redis.call('TIME')
local seconds = tonumber(time[1])
local now = string.format('%d.%06d', seconds, tonumber(time[2]))

local function final(status) return status == 'SUCCESS' or status == 'FAILURE' or status == 'REVOKED' end

-- A large request lies beside its record, which has an empty one and `beside`: see large.py. It arrives as '', and the
-- record takes it in as long as not all workers know of that. Returns the request to be recorded, whether it lies
-- beside, and its bytes; nil when it is gone.
local function beside_or_not(id, request)
    if request ~= '' then return request, false, #request end
    if redis.call('GET', READ_BESIDE) then
        local bytes = redis.call('STRLEN', REQUEST .. id)
        return bytes > 0 and '' or nil, true, bytes
    end
    request = redis.call('GET', REQUEST .. id) or nil
    return request, false, #(request or '')
end

-- To be called when the record is written: a full Redis must refuse that before anything changes.
local function keep_request(id)
    redis.call('PERSIST', REQUEST .. id)
    redis.call('ZADD', BESIDE, seconds + LOOK_AGAIN, id)
end

-- The same where the request has come once more: unless it is needed, it expires.
local function still_beside(id)
    local status, beside = unpack(redis.call('HMGET', TASK .. id, 'status', 'beside'))
    if beside and not final(status) then keep_request(id) end
end

local function forget_request(id)
    redis.call('DEL', REQUEST .. id)
    redis.call('ZREM', BESIDE, id)
end

-- The bytes of the requests that wait, or will again, are counted: each record tells by `waits` what it counts for. A
-- full Redis refuses the first write of a script alone, so records are written before the sum is.
local function counts(waits) return waits and waits ~= '' end

local function waits_no_more(bytes)
    if counts(bytes) then redis.call('INCRBY', WAITING_BYTES, 0 - bytes) end
end

local function waits_again(id)
    local key = TASK .. id
    local beside, waits = unpack(redis.call('HMGET', key, 'beside', 'waits'))
    local bytes = beside and redis.call('STRLEN', REQUEST .. id) or redis.call('HSTRLEN', key, 'request')
    redis.call('HSET', key, 'status', 'PENDING', 'waits', bytes)
    redis.call('INCRBY', WAITING_BYTES, bytes - (counts(waits) and waits or 0))
end

local woken = false  -- one message wakes the sender of callbacks for all tasks of a script

-- Ends a task: writes the outcome, starts its expiry and schedules its callback. Returns the channel that waits.
-- A task that is to be kept leaves its request, so that it can be run again. The model's version, where it has one, is
-- that of the process that has run the task; so are the times of its call.
local function finish(id, status, result, message, sync_expires, expires, keep, model, times)
    local key = TASK .. id
    local old = redis.call('HMGET', key, 'status', 'mode', 'reply_to', 'callback_uri', 'kept', 'beside', 'waits')
    if not old[1] or final(old[1]) then return nil end
    -- What is not needed any longer is emptied rather than removed: that saves a command.
    local done = {'status', status, 'result', result, 'ended', now, 'reply_to', '', 'token', ''}
    if message ~= '' then done[#done + 1] = 'message' done[#done + 1] = message end
    if model and model ~= '' then done[#done + 1] = 'model' done[#done + 1] = model end
    if times and times ~= '' then done[#done + 1] = 'times' done[#done + 1] = times end
    if not keep then done[#done + 1] = 'request' done[#done + 1] = '' end
    if counts(old[7]) then done[#done + 1] = 'waits' done[#done + 1] = '' end
    redis.call('HSET', key, unpack(done))
    waits_no_more(old[7])
    if old[6] and not keep then
        forget_request(id)
        redis.call('HDEL', key, 'beside')
    end
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
    if redis.call('PUBLISH', channel, table.concat(lines, '\n')) > 0 then return end
    for _, line in ipairs(lines) do redis.call('EXPIRE', TASK .. string.match(line, '^%S+'), expires) end
end

local function end_now(id, status, result, message, sync_expires, expires, keep)
    local channel = finish(id, status, result, message, sync_expires, expires, keep)
    if channel then reply(channel, {id .. ' ' .. status .. ' ' .. message}, expires) end
end
