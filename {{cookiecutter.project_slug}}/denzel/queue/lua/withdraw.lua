-- KEYS: none; the names of all keys stand in keys.py.
-- ARGV: expiry of synchronous records, expiry of the others, result, message, then ids.
-- Nobody waits for these tasks any longer: those that have not begun, and whose answer was promised to nobody, are
-- REVOKED. Returns how many.
local sync_expires, expires, result, message = unpack(ARGV, 1, 4)
local withdrawn = 0
for i = 5, #ARGV do
    local task = redis.call('HMGET', TASK .. ARGV[i], 'status', 'mode', 'kept', 'started')
    if task[1] == 'PENDING' and task[2] == 'sync' and not task[3] and not task[4] then
        redis.call('LREM', WAITING, 1, ARGV[i])
        finish(ARGV[i], 'REVOKED', result, message, sync_expires, expires)
        withdrawn = withdrawn + 1
    end
end
return withdrawn
