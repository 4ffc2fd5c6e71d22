-- KEYS: none; the names of all keys stand in keys.py.
-- Returns the totals; what containers tell of themselves, the last one last; the heartbeats (name, age in seconds,
-- JSON); then how many tasks wait, for how long the oldest of them has, how many are claimed, were given up, how many
-- callbacks are to be sent, and the measured speed.
local claimed = 0
for _, token in ipairs(redis.call('SMEMBERS', CLAIMANTS)) do
    claimed = claimed + redis.call('SCARD', CLAIMS .. token)
end
local told = {}
for _, text in ipairs(redis.call('HVALS', CONTAINERS)) do
    local second, json = string.match(text, '^(%d+) (.*)$')
    if tonumber(second) >= seconds - TOLD then told[#told + 1] = {tonumber(second), json} end
end
table.sort(told, function(one, other) return one[1] < other[1] end)
for place, one in ipairs(told) do told[place] = one[2] end
local nodes = {}
local beats = redis.call('HGETALL', NODES)
for i = 1, #beats, 2 do
    local second, json = string.match(beats[i + 1], '^(%d+) (.*)$')
    for _, value in ipairs({beats[i], seconds - tonumber(second), json}) do nodes[#nodes + 1] = value end
end
local oldest = redis.call('LINDEX', WAITING, -1)
local accepted = oldest and tonumber(redis.call('HGET', TASK .. oldest, 'accepted') or now) or tonumber(now)
local delayed = redis.call('ZCARD', DELAYED)
return {redis.call('HGETALL', TOTALS), told, nodes,
        redis.call('LLEN', WAITING) + delayed, string.format('%.6f', math.max(0, tonumber(now) - accepted)), claimed,
        redis.call('ZCARD', DEAD), redis.call('ZCARD', CALLBACKS), redis.call('GET', SPEED) or '0 0'}
