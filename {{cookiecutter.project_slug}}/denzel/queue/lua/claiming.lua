-- The next part of every script: how tasks are claimed, handed over and given back, and how workers are woken.
local function processes() return math.max(1, tonumber(redis.call('GET', PROCESSES) or 1)) end

-- A process as it lists itself when it is idle: `token node most at_once ratio quick`.
local function claimant(text)
    local token, node, most, at_once, ratio, quick = string.match(text, '^(%S+) (%S+) (%d+) (%d+) (%S+) (%d)$')
    return {token = token, node = node, most = tonumber(most), at_once = math.max(1, tonumber(at_once)),
            ratio = tonumber(ratio), quick = quick == '1'}
end

-- The most tasks a process should claim when so many wait; why it is this number, pipeline/batch_size.py says.
local function portion(of, waiting)
    if of.most <= of.at_once then return of.most end
    local share = waiting / processes()
    local best = math.sqrt(share * of.ratio)
    return math.min(of.most, math.max(of.at_once, math.floor(math.max(best, math.min(2 * best, share)) + 0.5)))
end

local function note_claims(of, ids)
    redis.call('SADD', CLAIMS .. of.token, unpack(ids))
    redis.call('SADD', CLAIMANTS, of.token)
    if of.quick then redis.call('SET', QUICK, of.token, 'PX', QUICK_FOR) end
end

-- Whether a task's client is gone together with its API process, before the end of its wait. Once a wait has ended an
-- API process that is only cut off may have promised the answer. A beat vouches for those that listen.
local function nobody_waits(id, to)
    if tonumber(to) < tonumber(now) then return false end
    local mode, channel, kept, started, accepted = unpack(
        redis.call('HMGET', TASK .. id, 'mode', 'reply_to', 'kept', 'started', 'accepted'))
    if mode ~= 'sync' or kept or started or not channel or channel == '' then return false end
    if tonumber(accepted) > seconds - LEASE - 2 or redis.call('EXISTS', ALIVE .. channel, AMNESTY) > 0 then
        return false
    end
    return seconds - tonumber(redis.call('GET', LAST_BEAT) or 0) <= 2
end

-- Claims what waits for a process. Returns of each: id, request, origin ('': nothing to tell).
-- handed ('1' or ''): the process has not asked for it now, and may be at other work.
-- A task that is to run alone comes alone.
local function claim(of, handed)
    local claimed, ids, bytes = {}, {}, 0
    local most = portion(of, redis.call('LLEN', WAITING))
    local taken = most > 0 and redis.call('RPOP', WAITING, most) or {}
    for position, id in ipairs(taken) do
        local key = TASK .. id
        local task = redis.call('HMGET', key, 'status', 'request', 'started', 'alone', 'attempts', 'until', 'origin',
                                'waits')
        if task[6] and nobody_waits(id, task[6]) then
            finish(id, 'REVOKED', '{"args":["its client has gone"],"type":"TaskRevokedError"}',
                   '"The client has gone."', SHORT, SHORT)
        elseif task[1] and not final(task[1]) then
            if task[4] and #ids > 0 then
                for rest = #taken, position, -1 do redis.call('RPUSH', WAITING, taken[rest]) end
                break
            end
            redis.call('HSET', key, 'status', 'STARTED', 'worker', of.node, 'token', of.token,
                       'started', task[3] or now, 'attempts', (task[5] or 0) + 1, 'handed', handed, 'waits', '')
            if counts(task[8]) then bytes = bytes + task[8] end
            ids[#ids + 1] = id
            claimed[#claimed + 1] = id
            claimed[#claimed + 1] = task[2]
            claimed[#claimed + 1] = task[7] or ''
            if task[4] then
                for rest = #taken, position + 1, -1 do redis.call('RPUSH', WAITING, taken[rest]) end
                break
            end
        end
    end
    if #ids > 0 then note_claims(of, ids) end
    if bytes > 0 then waits_no_more(bytes) end
    return claimed
end

-- A process that is idle and lives, and how it is listed; nil when there is none.
local function next_idle()
    for _, text in ipairs(redis.call('LRANGE', IDLE, 0, -1)) do
        local idle = claimant(text)
        if redis.call('EXISTS', ALIVE .. idle.token) == 1 then return idle, text end
    end
end

-- Nothing is handed any more to the process behind a token.
local function unlist(token)
    for _, text in ipairs(redis.call('LRANGE', IDLE, 0, -1)) do
        if claimant(text).token == token then redis.call('LREM', IDLE, 0, text) end
    end
end

-- Puts claimed tasks into a process's hand: the number that wait still, then lines of `id origin request`.
local function hand(to, waiting, claimed)
    local lines = {waiting}
    for i = 1, #claimed, 3 do
        local origin = claimed[i + 2] == '' and '-' or claimed[i + 2]
        lines[#lines + 1] = claimed[i] .. ' ' .. origin .. ' ' .. claimed[i + 1]
    end
    redis.call('RPUSH', HAND .. to.token, table.concat(lines, '\n'))
end

-- Wakes workers for waiting tasks: idle ones are handed what they want, for the rest `tickets` tickets are written, as
-- long as there are no more than there are processes to take them. Returns how many tickets it takes, and how many
-- tasks wait; the queue is '' where tickets travel through another broker.
local function wake(tickets, most, queue, ticket)
    local waiting = redis.call('LLEN', WAITING)
    while waiting > 0 do
        local idle, listed = next_idle()
        if not idle then break end
        redis.call('LREM', IDLE, 1, listed)
        local claimed = claim(idle, '1')
        waiting = redis.call('LLEN', WAITING)
        hand(idle, waiting, claimed)
    end
    tickets = math.min(tickets, waiting)
    if queue ~= '' and tickets > 0 then
        for _ = 1, math.min(tickets, most - redis.call('LLEN', queue)) do redis.call('LPUSH', queue, ticket) end
    end
    return tickets, waiting
end

-- The process behind a token is dead: what it had claimed waits again, in front. Tasks that ran together run alone
-- from now, so that the one that killed the process is found; that one is tried again after growing delays, a bounded
-- number of times: how it died says which field counts, and up to what. Nothing counts when the process was stopped for
-- a reason of ours. What is known of the last end stands behind the reason.
local DEATH, LOSS = {'deaths', MAX_DEATHS, 'died'}, {'losses', MAX_LOSSES, 'was lost with its container'}

local function give_back(token, sync_expires, expires, how, details)
    details = details or ''
    local untouched = {}  -- was handed to it, and never taken
    for _, text in ipairs(redis.call('LRANGE', HAND .. token, 0, -1)) do
        for id in string.gmatch(text, '\n(%S+) ') do untouched[id] = true end
    end
    redis.call('DEL', HAND .. token)
    local ids = redis.call('SMEMBERS', CLAIMS .. token)
    redis.call('DEL', CLAIMS .. token)
    redis.call('SREM', CLAIMANTS, token)
    for _, id in ipairs(ids) do
        local key = TASK .. id
        local status = redis.call('HGET', key, 'status')
        if status and not final(status) then
            waits_again(id)
            local times = 0
            if how and not untouched[id] then
                redis.call('HSET', key, 'alone', '1')
                if #ids == 1 then times = redis.call('HINCRBY', key, how[1], 1) end
            end
            if how and times >= how[2] then
                local reason = 'the process that ran this task ' .. how[3] .. ', ' .. times .. ' times' .. details
                end_now(id, 'FAILURE', '{"args":["' .. reason .. '"],"type":"WorkerLostError"}',
                        '"' .. reason .. '"', sync_expires, expires, true)
            elseif times > 1 then
                redis.call('ZADD', DELAYED, seconds + math.min(60, 2 ^ (times - 1)), id)
            else
                redis.call('RPUSH', WAITING, id)
            end
        end
    end
end
