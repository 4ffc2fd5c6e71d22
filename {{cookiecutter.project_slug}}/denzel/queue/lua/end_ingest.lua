-- KEYS: none; the names of all keys stand in keys.py.
-- ARGV: id, owner, status, result, message, expiry. It has ended; with the status PENDING it is given back, for another
-- process to go on with.
local id, owner, status, result, message, expires = unpack(ARGV)
if redis.call('GET', INGEST_LEASE) ~= owner then return 0 end
if status ~= 'PENDING' then
    finish(id, status, result, message, expires, expires)
elseif redis.call('HGET', TASK .. id, 'status') == 'STARTED' then
    redis.call('HSET', TASK .. id, 'status', 'PENDING', 'lives', 0)
end
redis.call('DEL', INGEST_LEASE)
return 1
