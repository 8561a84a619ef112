-- progress stores how far an active job is, and tells it.
-- KEYS: 1 the job, 2 its lock, 3 the channel progress
-- ARGV: 1 token, 2 progress (JSON), 3 event (JSON)
-- Returns 0, or -1 (no hash), -2 (no lock) or -6 (somebody else's).
local code = held(KEYS[1], KEYS[2], ARGV[1])
if code ~= 0 then return code end
redis.call('HSET', KEYS[1], 'progress', ARGV[2])
redis.call('PUBLISH', KEYS[3], ARGV[3])
return 0
