-- KEYS: none; the names of all keys stand in keys.py.
-- Returns the server's time, the number of waiting tasks, and the heartbeats.
return {seconds, redis.call('LLEN', WAITING) + redis.call('ZCARD', DELAYED), redis.call('HGETALL', NODES)}
