-- extend renews a lock.
-- KEYS: 1 the job's lock, 2 stalled
-- ARGV: 1 token, 2 lock time (ms), 3 id
-- Returns 1, or 0 if the lock is gone or somebody else's.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SREM', KEYS[2], ARGV[3])
return 1
