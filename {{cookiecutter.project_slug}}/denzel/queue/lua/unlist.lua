-- KEYS: none; the names of all keys stand in keys.py.
-- ARGV: token. An API process has seen this process end: nothing is handed to it any more.
local token = ARGV[1]
for _, text in ipairs(redis.call('LRANGE', IDLE, 0, -1)) do
    if claimant(text).token == token then redis.call('LREM', IDLE, 0, text) end
end
