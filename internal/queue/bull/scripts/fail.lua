-- fail ends one attempt badly: the job is tried again at once, later, or never. Nothing is written unless the token owns
-- the job.
-- KEYS: 1 wait, 2 paused, 3 meta-paused, 4 active, 5 priority, 6 stalled, 7 delayed, 8 failed, 9 metrics:failed
-- ARGV: 1 base, 2 id, 3 token, 4 now (ms), 5 attempts made, 6 stack traces (JSON), 7 reason,
--       8 'retry', 'delay' or 'fail'
--       9 retry: LPUSH or RPUSH; delay: the score; fail: the event (JSON)
--       10 age (s) and 11 count of what is kept of failed jobs, 12 how many minutes of metrics are kept
-- Returns 0, or the code of leave_active.
local base, id, now, step = ARGV[1], ARGV[2], tonumber(ARGV[4]), ARGV[8]
redis.call('ZCARD', KEYS[8]) -- a key that somebody made something else stops the script before it has written anything
local code, priority, deid = leave_active(base, KEYS[4], KEYS[6], id, ARGV[3])
if code ~= 0 then return code end

redis.call('HSET', base .. id, 'attemptsMade', ARGV[5], 'stacktrace', ARGV[6], 'failedReason', ARGV[7])
if step == 'retry' then
  insert(target(KEYS[1], KEYS[2], KEYS[3]), KEYS[5], priority, id, ARGV[9])
elseif step == 'delay' then
  delay(KEYS[7], id, ARGV[9])
else
  free_debounce(base, deid)
  redis.call('HSET', base .. id, 'finishedOn', ARGV[4])
  keep(base, KEYS[8], id, now, tonumber(ARGV[10]), tonumber(ARGV[11]))
  measure(KEYS[9], now, tonumber(ARGV[12]), 1)
  redis.call('PUBLISH', KEYS[8], ARGV[9])
end
return 0
