-- release gives back slots that were not used, if nobody reserved any after them.
-- KEYS: 1 next
-- ARGV: 1 what next was after the reservation (µs), 2 what it shall be (µs)
-- Returns 1 if it did.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return 1
