-- KEYS: none; the names of all keys stand in keys.py.
-- ARGV: id. Returns what became of it.
local id = ARGV[1]
local key = TASK .. id
local task = redis.call('HMGET', key, 'status', 'mode', 'callback_uri')
if not task[1] then return 'unknown' end
if task[2] ~= 'async' or not task[3] or task[3] == '' then return 'no callback' end
if not final(task[1]) then return 'not ended' end
redis.call('ZADD', CALLBACKS, seconds, id)
redis.call('HDEL', key, 'callback')
redis.call('PUBLISH', CALLBACKS_WAKE, id)
return 'queued'
