-- KEYS: none; the names of all keys stand in keys.py.
-- ARGV: token, id, result, message, expiry of synchronous records, expiry of the others.
-- The process runs over its time. Alone, its task ends so; of a merged call none does: they run apart, each by itself.
local token, id, result, message, sync_expires, expires = unpack(ARGV)
local claims = CLAIMS .. token

if redis.call('SCARD', claims) == 1 and redis.call('SISMEMBER', claims, id) == 1 then
    end_now(id, 'FAILURE', result, message, sync_expires, expires, true)
end
