-- promoteone makes a delayed job ready to run, before it is due.
-- KEYS: 1 delayed, 2 wait, 3 paused, 4 meta-paused, 5 priority
-- ARGV: 1 base, 2 id, 3 token
-- Returns 0, -1 (no hash) or -4 (not delayed). Nothing has changed unless it returns 0.
local job = ARGV[1] .. ARGV[2]
if redis.call('EXISTS', job) == 0 then return -1 end
if redis.call('ZREM', KEYS[1], ARGV[2]) == 0 then return -4 end
insert(target(KEYS[2], KEYS[3], KEYS[4]), KEYS[5], priority_of(job), ARGV[2], 'LPUSH')
redis.call('PUBLISH', ARGV[1] .. 'waiting@' .. ARGV[3], ARGV[2])
redis.call('HSET', job, 'delay', '0')
return 0
