-- KEYS: none; the names of all keys stand in keys.py.
-- ARGV: the digest of an idempotency key, the id of its task, which was refused: unless it has a record after all, or
--       the key is another's by now, the key goes.
local name = IDEMPOTENCY .. ARGV[1]
local bound = redis.call('GET', name)
if bound and string.sub(bound, 1, #ARGV[2]) == ARGV[2] and redis.call('EXISTS', TASK .. ARGV[2]) == 0 then
    redis.call('DEL', name)
end
