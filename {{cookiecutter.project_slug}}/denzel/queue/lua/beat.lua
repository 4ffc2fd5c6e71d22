-- KEYS: none; the names of all keys stand in keys.py.
-- ARGV: name, heartbeat (JSON with `up`, its processes that serve, and `speed`, their tasks per second and the mean
--       seconds of a call, 0 where that is not known yet), ticket queue, ticket,
--       expiry of synchronous records, expiry of the others, almost full (1: accept no more),
--       then the tokens of the living processes.
-- Returns 1 when tasks wait, so that a ticket can be sent through another broker.
local name, heartbeat, queue, ticket, sync_expires, expires, almost_full = unpack(ARGV, 1, 7)

redis.call('HSET', NODES, name, seconds .. ' ' .. heartbeat)
local up, measured, speed, call = 0, 0, 0, 0
local all_read_beside = true
local nodes = redis.call('HGETALL', NODES)
for i = 1, #nodes, 2 do
    local written, told = string.match(nodes[i + 1], '^(%d+) (.*)$')
    if tonumber(written) < seconds - 60 then
        redis.call('HDEL', NODES, nodes[i])
        told = nil
    else
        told = cjson.decode(told)
        all_read_beside = all_read_beside and told.reads_beside
    end
    if told and tonumber(written) >= seconds - STALE then
        up = up + told.up
        if told.up > 0 and told.speed and told.speed[1] > 0 then
            measured = measured + told.up
            speed = speed + told.speed[1]
            call = call + told.speed[2] * told.up
        end
    end
end
redis.call('SET', PROCESSES, up)
if all_read_beside then redis.call('SET', READ_BESIDE, 1, 'EX', 2 * LEASE) else redis.call('DEL', READ_BESIDE) end
-- Processes that have not been measured yet count as the others do.
if measured > 0 then
    redis.call('SET', SPEED, string.format('%.9g %.9g', speed / measured * up, call / measured), 'EX', 2 * LEASE)
else
    redis.call('DEL', SPEED)
end

for _, channel in ipairs(redis.call('PUBSUB', 'CHANNELS', REPLIES .. '*')) do
    redis.call('SET', ALIVE .. channel, 1, 'EX', LEASE)
end
for i = 8, #ARGV do redis.call('SET', ALIVE .. ARGV[i], 1, 'EX', LEASE) end
for _, text in ipairs(redis.call('LRANGE', IDLE, 0, -1)) do
    if redis.call('EXISTS', ALIVE .. claimant(text).token) == 0 then redis.call('LREM', IDLE, 0, text) end
end
if almost_full == '1' then redis.call('SET', FULL, 1, 'EX', LEASE) end
-- Silence of all (Redis was away) proves nobody's death: everyone gets the time to vouch again.
local last = tonumber(redis.call('GET', LAST_BEAT) or 0)
if seconds - last > 2 then redis.call('SET', AMNESTY, 1, 'EX', LEASE + 1) end
redis.call('SET', LAST_BEAT, seconds)
if redis.call('EXISTS', AMNESTY) == 0 then
    for _, token in ipairs(redis.call('SMEMBERS', CLAIMANTS)) do
        if redis.call('EXISTS', ALIVE .. token) == 0 then give_back(token, sync_expires, expires, LOSS) end
    end
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', DELAYED, '-inf', now, 'LIMIT', 0, 1000)) do
    redis.call('ZREM', DELAYED, id)
    redis.call('RPUSH', WAITING, id)
end
-- Large requests that nobody needs: the record has expired, or was ended by a process from before an update.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', BESIDE, '-inf', now, 'LIMIT', 0, 100)) do
    local status, beside = unpack(redis.call('HMGET', TASK .. id, 'status', 'beside'))
    if beside and (not final(status) or redis.call('ZSCORE', DEAD, id)) then
        redis.call('ZADD', BESIDE, seconds + LOOK_AGAIN, id)
    else
        forget_request(id)
    end
end
forget_late()  -- also when nobody is refused any more
local tickets = wake(1, 1, queue, ticket)
return tickets
