-- log adds a row to the log of an active job.
-- KEYS: 1 the job, 2 its lock, 3 its log
-- ARGV: 1 token, 2 row, 3 how many of the newest rows stay, 0 for all
-- Returns 0, or -1 (no hash), -2 (no lock) or -6 (somebody else's).
local code = held(KEYS[1], KEYS[2], ARGV[1])
if code ~= 0 then return code end
redis.call('RPUSH', KEYS[3], ARGV[2])
if ARGV[3] ~= '0' then redis.call('LTRIM', KEYS[3], '-' .. ARGV[3], -1) end
return 0
