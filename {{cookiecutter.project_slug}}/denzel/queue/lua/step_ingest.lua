-- KEYS: none; the names of all keys stand in keys.py.
-- ARGV: id, owner, lease (milliseconds), node, then done and total where there is progress.
-- Returns 1 while the owner is to go on: it is still its own, and was not cancelled.
local id, owner, lease, node, done, total = unpack(ARGV)
if redis.call('GET', INGEST_LEASE) ~= owner then return 0 end
if redis.call('HGET', TASK .. id, 'status') ~= 'STARTED' then
    redis.call('DEL', INGEST_LEASE)
    return 0
end
redis.call('PEXPIRE', INGEST_LEASE, lease)
redis.call('HSET', TASK .. id, 'worker', node)
if done then redis.call('HSET', TASK .. id, 'done', done, 'total', total, 'lives', 0) end
return 1
