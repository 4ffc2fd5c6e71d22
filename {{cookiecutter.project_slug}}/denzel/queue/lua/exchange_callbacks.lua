-- KEYS: none; the names of all keys stand in keys.py.
-- An exchange with Redis is one script: it records what happened since the last one, then leases what is due.
-- ARGV: lease, most ids to lease, keep, expiry of records whose callback has ended,
--       then for each note: id, delay ('' = ended), state ('' = as it is), the task's end that it concerns ('' = any).
-- Returns the leased ids, each with callback_uri, size of the result and state; the time to the next due one.
local lease, most, keep, expires = unpack(ARGV, 1, 4)
lease, most, keep = tonumber(lease), tonumber(most), tonumber(keep)
local moment = tonumber(now)

-- A record must not expire before its callback has ended.
local function outlive(key, span)
    local left = redis.call('TTL', key)
    if left >= 0 and left < span then redis.call('EXPIRE', key, math.ceil(span)) end
end

for i = 5, #ARGV, 4 do
    local id, delay, state, ended = unpack(ARGV, i, i + 3)
    local key = TASK .. id
    -- An id that is gone was ended by another process that had leased it, too. A task that was run again meanwhile
    -- has another answer, which is still to be sent.
    if redis.call('ZSCORE', CALLBACKS, id) and (ended == '' or ended == (redis.call('HGET', key, 'ended') or '-')) then
        if delay == '' then
            redis.call('ZREM', CALLBACKS, id)
            redis.call('EXPIRE', key, expires)
        else
            redis.call('ZADD', CALLBACKS, moment + delay, id)
            outlive(key, delay + keep)
        end
        if state ~= '' and redis.call('EXISTS', key) == 1 then redis.call('HSET', key, 'callback', state) end
    end
end

local leased = {}
if most > 0 then
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', CALLBACKS, '-inf', now, 'LIMIT', 0, most)) do
        local key = TASK .. id
        local task = redis.call('HMGET', key, 'status', 'callback_uri', 'callback')
        if final(task[1]) and task[2] and task[2] ~= '' then
            redis.call('ZADD', CALLBACKS, moment + lease, id)
            outlive(key, keep)
            leased[#leased + 1] = {id, task[2], redis.call('HSTRLEN', key, 'result'), task[3] or ''}
        else
            redis.call('ZREM', CALLBACKS, id)
        end
    end
end
local first = redis.call('ZRANGE', CALLBACKS, 0, 0, 'WITHSCORES')
return {leased, first[2] and tostring(first[2] - moment) or ''}
