-- update replaces the data of an active job.
-- KEYS: 1 the job, 2 its lock
-- ARGV: 1 token, 2 data (JSON)
-- Returns 0, or -1 (no hash), -2 (no lock) or -6 (somebody else's).
local code = held(KEYS[1], KEYS[2], ARGV[1])
if code ~= 0 then return code end
redis.call('HSET', KEYS[1], 'data', ARGV[2])
return 0
