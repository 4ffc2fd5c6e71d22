-- KEYS: none; the names of all keys stand in keys.py.
-- ARGV: id, request ('': it was put beside), reply_to, accepted, started (unix seconds), node and token of the process
--       that runs it.
-- A task that was handed over directly, without a record, runs for long, or its client is to poll: from now on it is
-- known like one that was claimed. Whoever dies, it is run again. Nothing changes where it is known already.
local id, sent, reply_to, accepted, started, node, token = unpack(ARGV)
local key = TASK .. id

if redis.call('EXISTS', key) == 1 then return 0 end
local request, beside = beside_or_not(id, sent)
if not request then return redis.error_reply('ERR the request is gone') end
redis.call('HSET', key, 'status', 'STARTED', 'request', request, 'mode', 'sync', 'callback_uri', '',
           'reply_to', reply_to, 'accepted', accepted, 'started', started, 'worker', node, 'token', token,
           'attempts', 1, 'direct', 1)
if beside then
    redis.call('HSET', key, 'beside', 1)
    keep_request(id)
elseif sent == '' then
    forget_request(id)
end
redis.call('SADD', CLAIMS .. token, id)
redis.call('SADD', CLAIMANTS, token)
return 1
