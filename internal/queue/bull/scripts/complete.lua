-- complete ends an active job well, and takes the next one in the same step.
-- KEYS: 1 wait, 2 active, 3 priority, 4 stalled, 5 completed
-- ARGV: 1 base, 2 id, 3 token, 4 now (ms), 5 result (JSON), 6 event (JSON), 7 age (s) and 8 count of what is kept,
--       9 token for the next job or '' to take none, 10 lock time (ms)
-- Returns {code} with the code of leave_active if it is not 0, else {0, id or nil, fields or nil, {dropped ids}}.
local base, id, now = ARGV[1], ARGV[2], tonumber(ARGV[4])
local code = leave_active(base, KEYS[2], KEYS[4], id, ARGV[3])
if code ~= 0 then return {code} end

free_debounce(base, id)
redis.call('HSET', base .. id, 'returnvalue', ARGV[5], 'finishedOn', ARGV[4])
keep(base, KEYS[5], id, now, tonumber(ARGV[7]), tonumber(ARGV[8]))
redis.call('PUBLISH', KEYS[5], ARGV[6])

if ARGV[9] == '' then return {0, false, false, {}} end
local taken, fields, dropped = take(base, KEYS[1], KEYS[2], KEYS[3], KEYS[4], nil, ARGV[9], ARGV[10], ARGV[4])
return {0, taken, fields, dropped}
