-- KEYS: none; the names of all keys stand in keys.py.
-- ARGV: id, request ('': it was put beside), reply_to, accepted, started (unix seconds), node and token of the process
--       that runs it, ticket queue, ticket, takes long (1: its call is longer than those after which the process
--       runs what it was handed without asking, see worker/loop.py), where it comes from ('': nothing to tell),
--       microseconds of verify_input ('': not known).
-- Returns how many tickets it takes for what waits; they are written unless they travel through another broker.
-- A task that was handed over directly, without a record, runs for long, or its client is to poll: from now on it is
-- known like one that was claimed. Whoever dies, it is run again. Nothing changes where it is known already.
-- What the process was handed through the queue meanwhile goes back there where this one takes long: it would wait.
local id, sent, reply_to, accepted, started, node, token, queue, ticket, takes_long, origin, verify =
    unpack(ARGV)
local key = TASK .. id

if redis.call('EXISTS', key) == 1 then return 0 end
local request, beside = beside_or_not(id, sent)
if not request then return redis.error_reply('ERR the request is gone') end
unlist(token)
for _, other in ipairs(takes_long == '1' and redis.call('SMEMBERS', CLAIMS .. token) or {}) do
    local status, handed = unpack(redis.call('HMGET', TASK .. other, 'status', 'handed'))
    if status == 'STARTED' and handed == '1' then
        redis.call('SREM', CLAIMS .. token, other)
        waits_again(other)
        redis.call('HINCRBY', TASK .. other, 'attempts', -1)
        redis.call('RPUSH', WAITING, other)
    end
end
redis.call('HSET', key, 'status', 'STARTED', 'request', request, 'mode', 'sync', 'callback_uri', '',
           'reply_to', reply_to, 'accepted', accepted, 'started', started, 'worker', node, 'token', token,
           'attempts', 1, 'direct', 1, 'verify', verify)
if origin ~= '' then redis.call('HSET', key, 'origin', origin) end
if beside then
    redis.call('HSET', key, 'beside', 1)
    keep_request(id)
elseif sent == '' then
    forget_request(id)
end
redis.call('SADD', CLAIMS .. token, id)
redis.call('SADD', CLAIMANTS, token)
local tickets = wake(1, 1, queue, ticket)
return tickets
