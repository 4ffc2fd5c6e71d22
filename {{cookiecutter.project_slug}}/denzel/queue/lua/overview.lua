-- KEYS: none; the names of all keys stand in keys.py.
-- Returns the server's time, the number of waiting tasks, the heartbeats, and the last ingesting: id and record.
local ingest = redis.call('GET', INGEST)
local record = ingest and redis.call('HMGET', TASK .. ingest, 'status', 'done', 'total', 'message')
return {seconds, redis.call('LLEN', WAITING) + redis.call('ZCARD', DELAYED), redis.call('HGETALL', NODES),
        record and record[1] and {ingest, unpack(record)} or {}}
