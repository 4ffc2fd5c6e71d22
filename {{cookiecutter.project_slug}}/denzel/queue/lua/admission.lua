-- The last part of every script: whether a task is let in when much waits, and when its client is to come again. The
-- rules are those of denzel/admission.py, which tells them.
local function budget(part, wait, call) return part * wait - (call < part * wait and call or 0) end

local function retry_after(expected, allowed, returning, speed)
    return math.max(1, math.ceil(math.max(expected - allowed, returning / (RETURNING_SHARE * speed))))
end

local function digest(request) return redis.sha1hex(#request .. string.sub(request, 1, DIGEST_OF)) end

-- The same of a large request, which lies beside its record.
local function digest_beside(id)
    local key = REQUEST .. id
    return redis.sha1hex(redis.call('STRLEN', key) .. redis.call('GETRANGE', key, 0, DIGEST_OF - 1))
end

-- Of the tasks that processes have claimed, the half: on average so much of them is still to be done.
local function in_flight()
    local claimed = 0
    for _, token in ipairs(redis.call('SMEMBERS', CLAIMANTS)) do
        claimed = claimed + redis.call('SCARD', CLAIMS .. token)
    end
    return claimed / 2
end

-- Those who were told to come again: the set RETURNING of task ids by the time when they are due, and for each digest
-- the list of its ids. A hash counts how many came, and how many did not.
local function forget_late()
    local late = redis.call('ZRANGEBYSCORE', RETURNING, '-inf', '(' .. (seconds - LATE))
    if #late == 0 then return end
    for first = 1, #late, 1000 do
        redis.call('ZREM', RETURNING, unpack(late, first, math.min(#late, first + 999)))
    end
    redis.call('HINCRBY', RETURNED, 'stayed away', #late)
    redis.call('EXPIRE', RETURNED, 3600)
end

local function part_that_returns()
    local came, away = unpack(redis.call('HMGET', RETURNED, 'came', 'stayed away'))
    came, away = tonumber(came or 0), tonumber(away or 0)
    if came + away > RATES_FADE then
        came, away = math.floor(came / 2), math.floor(away / 2)
        redis.call('HSET', RETURNED, 'came', came, 'stayed away', away)
    end
    return (came + PRIOR) / (came + away + PRIOR)
end

-- How many were told to come again with this request, and the first of them.
local function returning(list)
    while true do
        local first = redis.call('LINDEX', list, 0)
        if not first then return 0 end
        local due = redis.call('ZSCORE', RETURNING, first)
        if due then return redis.call('LLEN', list), first, tonumber(due) end
        redis.call('LPOP', list)
    end
end

local function comes_again(list)
    local number, first, due = returning(list)
    if number == 0 or due > tonumber(now) + (number == 1 and EARLY or 0) then return false end
    redis.call('LPOP', list)
    redis.call('ZREM', RETURNING, first)
    if number == 1 then redis.call('HINCRBY', RETURNED, 'came', 1) end
    return true
end

-- How many seconds of work wait before a task, and after how many seconds its client is to come again; nil: let it in.
-- The wait is 0 for asynchronous tasks, `mine` what a request that comes again is known by
-- ('': it is large).
local function refuse(id, mine, wait, max_wait_async, expected, speed, call)
    if wait == 0 then
        if expected <= max_wait_async then return nil end
        return expected, retry_after(expected, FULL_PART * max_wait_async, 0, speed)
    end
    local full = budget(FULL_PART, wait, call)
    local reserved = math.min(budget(RESERVED_PART, wait, call), full - PLACES / speed)
    if expected <= reserved then return nil end
    forget_late()
    local others = redis.call('ZCARD', RETURNING)
    local list = RETURNING_LIST .. (mine == '' and digest_beside(id) or digest(mine))
    if expected <= full and (others == 0 or comes_again(list)) then return nil end
    local after = retry_after(expected, reserved, (others + 1) * part_that_returns(), speed)
    if after > LONGEST_FOR_SAME and returning(list) > 0 then
        return expected, math.max(LONGEST_FOR_SAME, math.ceil(expected - reserved))
    end
    if others < MOST_RETURNING then
        redis.call('ZADD', RETURNING, tonumber(now) + after, id)
        redis.call('EXPIRE', RETURNING, after + LATE + 3600)  -- where there are no workers, whose heartbeats forget
        redis.call('RPUSH', list, id)
        redis.call('EXPIRE', list, after + LATE + 60)
    end
    return expected, after
end
