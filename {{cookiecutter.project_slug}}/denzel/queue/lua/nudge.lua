-- KEYS: none; the names of all keys stand in keys.py.
-- ARGV: ticket queue, ticket. Returns the same last two numbers as a submission.
local queue, ticket = unpack(ARGV)

if redis.call('EXISTS', QUICK) == 1 then return {0, 1} end
local tickets = wake(processes(), processes(), queue, ticket)
return {tickets, 0}
