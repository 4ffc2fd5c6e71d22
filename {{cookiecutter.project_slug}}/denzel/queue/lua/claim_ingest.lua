-- KEYS: none; the names of all keys stand in keys.py.
-- ARGV: owner, lease (milliseconds), most lives without progress, expiry, result and message of one given up.
-- Returns the id and what is done of an ingesting that nobody is at, which is the owner's from now; else false.
local owner, lease, most, expires, result, message = unpack(ARGV)
local id = redis.call('GET', INGEST)
if not id then return false end
local key = TASK .. id
local task = redis.call('HMGET', key, 'status', 'done', 'lives', 'started')
if not task[1] or final(task[1]) then return false end
if not redis.call('SET', INGEST_LEASE, owner, 'NX', 'PX', lease) then return false end
if tonumber(task[3] or 0) >= tonumber(most) then
    finish(id, 'FAILURE', result, message, expires, expires)
    redis.call('DEL', INGEST_LEASE)
    return false
end
redis.call('HSET', key, 'status', 'STARTED', 'started', task[4] or now)
redis.call('HINCRBY', key, 'attempts', 1)
redis.call('HINCRBY', key, 'lives', 1)
return {id, task[2]}
