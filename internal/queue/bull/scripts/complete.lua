-- complete ends an active job well, and takes the next one in the same step.
-- KEYS: 1 wait, 2 active, 3 priority, 4 stalled, 5 completed, 6 metrics:completed
-- ARGV: 1 base, 2 id, 3 token, 4 now (ms), 5 result (JSON), 6 event (JSON), 7 age (s) and 8 count of what is kept,
--       9 how many minutes of metrics are kept, 10 token for the next job or '' to take none, 11 lock time (ms)
-- Returns {code} with the code of leave_active if it is not 0, else {0, then what take returns}.
local base, id, now, count = ARGV[1], ARGV[2], tonumber(ARGV[4]), tonumber(ARGV[8])
local code, _, deid = leave_active(base, KEYS[2], KEYS[4], id, ARGV[3])
if code ~= 0 then return {code} end

free_debounce(base, deid)
if count ~= 0 then redis.call('HSET', base .. id, 'returnvalue', ARGV[5], 'finishedOn', ARGV[4]) end
keep(base, KEYS[5], id, now, tonumber(ARGV[7]), count)
measure(KEYS[6], now, tonumber(ARGV[9]))
redis.call('PUBLISH', KEYS[5], ARGV[6])

if ARGV[10] == '' then return {0, false, false, {}, false} end
local taken, fields, dropped, repeatable = take(base, KEYS[1], KEYS[2], KEYS[3], nil, ARGV[10], ARGV[11], ARGV[4])
return {0, taken, fields, dropped, repeatable}
