-- KEYS: none; the names of all keys stand in keys.py.
-- ARGV: seconds between two notes, how many notes are kept, the names of what is noted.
local every, kept = unpack(ARGV, 1, 2)
if not redis.call('SET', NOTED, 1, 'NX', 'PX', 1000 * every - 500) then return end
local numbers = redis.call('HMGET', TOTALS, unpack(ARGV, 3))
for place, number in ipairs(numbers) do numbers[place] = number or '0' end
redis.call('RPUSH', NOTES, now .. ' ' .. table.concat(numbers, ' '))
redis.call('LTRIM', NOTES, -kept, -1)
redis.call('EXPIRE', NOTES, 2 * every * kept)
