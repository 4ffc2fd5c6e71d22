-- KEYS: none; the names of all keys stand in keys.py.
-- ARGV: ids. Returns for each what its callback is made of, as field, value, field, value, ...
local records = {}
for i, id in ipairs(ARGV) do
    local found = redis.call('HMGET', TASK .. id, 'status', 'result', 'ended', 'origin')
    if found[1] == 'SUCCESS' then
        records[i] = {'status', found[1], 'result', found[2], 'ended', found[3] or '-',
                      'origin', found[4] or ''}
    else
        records[i] = redis.call('HGETALL', TASK .. id)
    end
end
return records
