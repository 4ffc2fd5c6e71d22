-- KEYS: none; the names of all keys stand in keys.py.
-- ARGV: id, request, reply_to, accepted, started (unix seconds), node and token of the process that runs it.
-- A task that was handed over directly, without a record, runs for long, or its client is to poll: from now on it is
-- known like one that was claimed. Whoever dies, it is run again. Nothing changes where it is known already.
local id, request, reply_to, accepted, started, node, token = unpack(ARGV)
local key = TASK .. id

if redis.call('EXISTS', key) == 1 then return 0 end
redis.call('HSET', key, 'status', 'STARTED', 'request', request, 'mode', 'sync', 'callback_uri', '',
           'reply_to', reply_to, 'accepted', accepted, 'started', started, 'worker', node, 'token', token,
           'attempts', 1, 'direct', 1)
redis.call('SADD', CLAIMS .. token, id)
redis.call('SADD', CLAIMANTS, token)
return 1
