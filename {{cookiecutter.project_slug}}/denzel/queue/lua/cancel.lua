-- KEYS: none; the names of all keys stand in keys.py.
-- ARGV: id, expiry of synchronous records, expiry of the others, result, message.
-- Returns false when unknown, else the status found; unless that was final, the task is REVOKED now. A process that
-- runs it, and nothing else, is named to the supervisors, which stop it.
local id, sync_expires, expires, result, message = unpack(ARGV)

local task = redis.call('HMGET', TASK .. id, 'status', 'token')
if not task[1] or final(task[1]) then return task[1] end
end_now(id, 'REVOKED', result, message, sync_expires, expires)
redis.call('LREM', WAITING, 1, id)
redis.call('ZREM', DELAYED, id)
if task[1] == 'STARTED' and task[2] then
    local claims = CLAIMS .. task[2]
    if redis.call('SISMEMBER', claims, id) == 1 and redis.call('SCARD', claims) == 1 then
        redis.call('PUBLISH', CANCELLED, task[2] .. ' ' .. id)
    end
end
return task[1]
