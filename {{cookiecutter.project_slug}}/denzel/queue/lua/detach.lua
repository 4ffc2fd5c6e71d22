-- KEYS: none; the names of all keys stand in keys.py.
-- ARGV: id, expiry. Returns status, result, message, model and times when the task has ended meanwhile, else false.
local id, expires = unpack(ARGV)
local key = TASK .. id
local task = redis.call('HMGET', key, 'status', 'result', 'message', 'model', 'times')
if not task[1] then return false end
if final(task[1]) then
    redis.call('EXPIRE', key, expires)
    return task
end
redis.call('HSET', key, 'mode', 'poll')
return false
