-- KEYS: none; the names of all keys stand in keys.py.
-- Returns the server's time, the number of waiting tasks, the number that processes have claimed, and the heartbeats.
local claimed = 0
for _, token in ipairs(redis.call('SMEMBERS', CLAIMANTS)) do
    claimed = claimed + redis.call('SCARD', CLAIMS .. token)
end
local waiting = redis.call('LLEN', WAITING) + redis.call('ZCARD', DELAYED)
return {seconds, waiting, claimed, redis.call('HVALS', NODES)}
