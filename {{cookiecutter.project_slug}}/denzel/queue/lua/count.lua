-- KEYS: none; the names of all keys stand in keys.py.
-- ARGV: who counts, the number of this message, what the container tells of itself (JSON),
--       then of each number that has grown: its name, by how much.
-- A message that comes again changes nothing.
local source, number, told = unpack(ARGV, 1, 3)
number = tonumber(number)
local last = tonumber(string.match(redis.call('HGET', MESSAGES, source) or '0', '^%d+'))
if number ~= last then
    for i = 4, #ARGV, 2 do redis.call('HINCRBY', TOTALS, ARGV[i], ARGV[i + 1]) end
end
redis.call('HSET', MESSAGES, source, string.format('%d %d', number, seconds))
redis.call('HSET', CONTAINERS, source, seconds .. ' ' .. told)

-- Forgets those that have not been heard of for so long (seconds).
local function forget(key, pattern, after)
    local found = redis.call('HGETALL', key)
    for i = 1, #found, 2 do
        if tonumber(string.match(found[i + 1], pattern)) < seconds - after then redis.call('HDEL', key, found[i]) end
    end
end

forget(CONTAINERS, '^(%d+)', TOLD)
if seconds % 60 == 0 then forget(MESSAGES, ' (%d+)$', KNOWN) end
