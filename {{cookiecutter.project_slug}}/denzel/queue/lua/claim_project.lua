-- KEYS: none; the names of all keys stand in keys.py.
-- ARGV: the project's identity ('': none), the time as text, the place where it runs, its name.
-- Returns {'1'}: the names are this project's; {'0'}: they are, and what was written before they told the project is
-- left to workers that still run without that; else the identity of the project that has them, when it came and its
-- place.
local identity, moment, place, name = unpack(ARGV)

-- What processes that have ended by then told of themselves.
local passing = {}
for _, rest in ipairs({'idle', 'quick', 'processes', 'speed', 'nodes', 'last_beat', 'amnesty', 'full', 'read_beside',
                       'takes_changes', 'alive:', 'hand:', 'node:', 'idle:'}) do
    passing[rest] = true
end

local function move(key, to)
    if redis.call('EXISTS', to) == 0 then
        redis.call('RENAME', key, to)
        return
    end
    local kind = redis.call('TYPE', key).ok
    if kind == 'list' then  -- the oldest are on the right
        while redis.call('RPOPLPUSH', to, key) do end
        redis.call('RENAME', key, to)
    elseif kind == 'zset' then
        redis.call('ZUNIONSTORE', to, 2, to, key)
    elseif kind == 'set' then
        redis.call('SUNIONSTORE', to, to, key)
    end
    redis.call('DEL', key)
end

-- Takes over what was written before names told the project; false while that is not to be.
local function take_over()
    local beats = redis.pcall('HGETALL', EARLIER .. 'nodes')
    if beats.err then return true end  -- we may not read it: it is not ours
    local ours, others = false, false
    for i = 1, #beats, 2 do
        local whose = string.match(beats[i], '@(.*)$')
        local second = tonumber(string.match(beats[i + 1], '^(%d+)') or 0)
        if whose ~= name then
            others = true
        elseif seconds - second <= STALE then
            return false
        else
            ours = true
        end
    end
    if others and not ours then return true end
    local cursor = '0'
    repeat
        local found = redis.call('SCAN', cursor, 'MATCH', EARLIER .. '*', 'COUNT', 1000)
        cursor = found[1]
        for _, key in ipairs(found[2]) do
            local rest = string.sub(key, #EARLIER + 1)
            if passing[string.match(rest, '^[^:]*:?')] then
                redis.call('DEL', key)
            elseif redis.call('EXISTS', key) == 1 then
                move(key, PREFIX .. rest)
            end
        end
    until cursor == '0'
    if redis.call('EXISTS', 'synchronous_timeout') == 1 then move('synchronous_timeout', RESPONSE) end
    if redis.call('TYPE', 'denzel').ok == 'list' then redis.call('DEL', 'denzel', '_kombu.binding.denzel') end
    return true
end

local known, since, whence, done = unpack(redis.call('HMGET', PROJECT, 'identity', 'since', 'place', 'taken_over'))
if known and known ~= '' and known ~= identity then return {known, since or '', whence or ''} end
if known ~= identity then
    redis.call('HSET', PROJECT, 'identity', identity)
    if not known then redis.call('HSET', PROJECT, 'since', moment, 'place', place) end
end
if not done then
    if not take_over() then return {'0'} end
    redis.call('HSET', PROJECT, 'taken_over', 1)
end
return {'1'}
