-- KEYS: none; the names of all keys stand in keys.py.
-- ARGV: ids. Their requests were stored, and they have not been accepted: unless they were after all, these go.
for _, id in ipairs(ARGV) do
    if redis.call('EXISTS', TASK .. id) == 0 then redis.call('DEL', REQUEST .. id) end
end
