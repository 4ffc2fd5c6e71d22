-- KEYS: none; the names of all keys stand in keys.py.
-- ARGV: token, node, most tasks to claim (-1: some of those claimed before are still to be run),
--       at_once and ratio (see `portion`), ticket queue, ticket,
--       expiry of synchronous records, expiry of the others,
--       quick (1: the process will be back at once), how it was listed as idle ('': not),
--       how it is to be listed if there is nothing to do ('': not),
--       the version of its model ('': none),
--       then for each ended task: id, status, result, message, times of its call ('': none).
-- Replies to one API process travel as one message: lines of `id status payload` (compact JSON has no newline), where
-- the model has a version of `id status/version payload`. An API process that says so by its channel's name is told the
-- times, too: `id status;times/version payload`.
-- Returns the number that wait still, then of each claimed task: id, request, origin.
local token, node, most, at_once, ratio, queue, ticket = unpack(ARGV, 1, 7)
local sync_expires, expires, quick, listed, idle, model = unpack(ARGV, 8, 13)
most, at_once, ratio, quick = tonumber(most), tonumber(at_once), tonumber(ratio), quick == '1'
local claims = CLAIMS .. token
local replies, ended = {}, {}
for i = 14, #ARGV, 5 do
    local id, status, result, message, times = unpack(ARGV, i, i + 4)
    local channel = finish(id, status, result, message, sync_expires, expires, false, model, times)
    if channel then
        local payload = status == 'SUCCESS' and result or message
        replies[channel] = replies[channel] or {}
        if times ~= '' and string.find(channel, REPLIES .. WITH_TIMES, 1, true) == 1 then
            status = status .. ';' .. times
        end
        if model ~= '' then status = status .. '/' .. model end
        table.insert(replies[channel], id .. ' ' .. status .. ' ' .. payload)
    end
    ended[#ended + 1] = id
end
for channel, lines in pairs(replies) do reply(channel, lines, expires) end
if #ended > 0 then redis.call('SREM', claims, unpack(ended)) end
if most < 0 then return {0} end

if listed ~= '' then
    redis.call('LREM', IDLE, 0, listed)
    redis.call('DEL', HAND .. token)
end
-- Claims that are left were not run: the answer that handed them out never arrived, or the process is to stop.
for _, id in ipairs(redis.call('SMEMBERS', claims)) do
    redis.call('SREM', claims, id)
    if redis.call('HGET', TASK .. id, 'status') == 'STARTED' then
        waits_again(id)
        redis.call('HINCRBY', TASK .. id, 'attempts', -1)
        if redis.call('HGET', TASK .. id, 'direct') then  -- it has run, and how it ended is on its way here
            redis.call('ZADD', DELAYED, seconds + 1, id)
        else
            redis.call('RPUSH', WAITING, id)
        end
    end
end

local claimed = claim({token = token, node = node, most = most, at_once = at_once, ratio = ratio, quick = quick}, '')
if #claimed == 0 then
    redis.call('SREM', CLAIMANTS, token)
    if quick and redis.call('GET', QUICK) == token then redis.call('DEL', QUICK) end
    if idle ~= '' then redis.call('LPUSH', IDLE, idle) end
end
local _, waiting = wake(1, 1, queue, ticket)
return {waiting, unpack(claimed)}
