-- KEYS: none; the names of all keys stand in keys.py.
-- ARGV: id. Queues the ingesting under this id, unless it is queued or runs already. One that failed or was cancelled
-- is gone on with. Returns the id it has.
local id = ARGV[1]
local before = redis.call('GET', INGEST)
local done, total = 0, 0
if before then
    local task = redis.call('HMGET', TASK .. before, 'status', 'done', 'total')
    if task[1] and not final(task[1]) then return before end
    if task[1] and task[1] ~= 'SUCCESS' then done, total = task[2], task[3] end
end
redis.call('HSET', TASK .. id, 'status', 'PENDING', 'mode', 'poll', 'accepted', now, 'done', done, 'total', total)
redis.call('SET', INGEST, id)
return id
