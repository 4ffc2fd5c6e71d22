-- KEYS: none; the names of all keys stand in keys.py.
-- ARGV: token, ticket queue, ticket, expiry of synchronous records, expiry of the others,
--       blameless (1: it was not a task that ended the process), how it ended (as within a text of JSON),
--       the task that ran as it ended, the first of them where they were merged ('': none).
local token, queue, ticket, sync_expires, expires, blameless, how, ran = unpack(ARGV)

redis.call('DEL', ALIVE .. token)
local details = how ~= '' and ' (' .. how .. ')' or ''
-- What ran had come directly, and is not known here: those that were claimed had not begun.
local others = ran ~= '' and redis.call('SISMEMBER', CLAIMS .. token, ran) == 0
give_back(token, sync_expires, expires, not (blameless == '1' or others) and DEATH or nil, details)
local tickets = wake(1, 1, queue, ticket)
return tickets
