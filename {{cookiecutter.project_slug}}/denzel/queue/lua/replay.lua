-- KEYS: none; the names of all keys stand in keys.py.
-- ARGV: id. Returns false when the task cannot be run again.
local id = ARGV[1]
local key = TASK .. id
redis.call('ZREM', DEAD, id)
local task = redis.call('HMGET', key, 'status', 'request', 'mode', 'beside')
local has_request = task[2] and task[2] ~= '' or task[4] and redis.call('EXISTS', REQUEST .. id) == 1
if task[1] ~= 'FAILURE' or not has_request then return false end
redis.call('HDEL', key, 'result', 'message', 'ended', 'started', 'deaths', 'losses', 'callback', 'times',
           'model')
redis.call('HSET', key, 'alone', '1', 'mode', task[3] == 'async' and 'async' or 'poll')
waits_again(id)
redis.call('ZREM', CALLBACKS, id)
redis.call('PERSIST', key)
redis.call('LPUSH', WAITING, id)
return 1
