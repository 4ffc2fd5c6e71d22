-- KEYS: none; the names of all keys stand in keys.py.
-- ARGV: token, ticket queue, ticket, expiry of synchronous records, expiry of the others,
--       blameless (1: it was not a task that ended the process), how it ended (as within a text of JSON).
local token, queue, ticket, sync_expires, expires, blameless, how = unpack(ARGV)

redis.call('DEL', ALIVE .. token)
local details = how ~= '' and ' (' .. how .. ')' or ''
give_back(token, sync_expires, expires, blameless ~= '1' and DEATH or nil, details)
local tickets = wake(1, 1, queue, ticket)
return tickets
