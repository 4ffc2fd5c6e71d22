-- KEYS: none; the names of all keys stand in keys.py.
-- ARGV: expiry of synchronous records, expiry of the others,
--       then for each task: id, status, result, message, accepted, started, ended (unix seconds), node,
--       the version of its model ('': none), the times of its call ('': none), where it comes from ('': nothing to
--       tell), microseconds of verify_input ('': not known).
-- How tasks ended that were handed over directly and have been answered: for those who look at /status later. Where
-- Redis is almost full, what is left is for answers that were promised.
local sync_expires, expires = unpack(ARGV, 1, 2)
local full = redis.call('EXISTS', FULL) == 1

for i = 3, #ARGV, 12 do
    local id, status, result, message, accepted, started, ended, node, model, times, origin, verify =
        unpack(ARGV, i, i + 11)
    local key = TASK .. id
    if redis.call('EXISTS', key) == 1 then
        finish(id, status, result, message, sync_expires, expires, false, model, times)  -- who waited has been told
    elseif not full then
        redis.call('HSET', key, 'status', status, 'result', result, 'message', message, 'mode', 'sync',
                   'accepted', accepted, 'started', started, 'ended', ended, 'worker', node, 'attempts', 1,
                   'times', times, 'verify', verify)
        if origin ~= '' then redis.call('HSET', key, 'origin', origin) end
        if model ~= '' then redis.call('HSET', key, 'model', model) end
        redis.call('EXPIRE', key, sync_expires)
    end
end
