-- retryfailed makes failed jobs ready to run, the oldest first, as Bull's retryJobs does: without events. A job that a
-- worker holds stays; an id without a job behind it is dropped.
-- KEYS: 1 failed, 2 wait, 3 paused, 4 meta-paused
-- ARGV: 1 base, 2 how many of the oldest to skip, 3 how many to look at
-- Returns {how many it looked at, how many will run, how many stay}.
local base, from = ARGV[1], tonumber(ARGV[2])
local ids = redis.call('ZRANGE', KEYS[1], from, from + tonumber(ARGV[3]) - 1)
local list = target(KEYS[2], KEYS[3], KEYS[4])
local retried, kept = 0, 0
for _, id in ipairs(ids) do
  local job = base .. id
  if redis.call('EXISTS', job .. ':lock') == 1 then
    kept = kept + 1
  else
    redis.call('ZREM', KEYS[1], id)
    if redis.call('EXISTS', job) == 1 then
      redis.call('HDEL', job, 'finishedOn', 'processedOn', 'failedReason')
      redis.call('LPUSH', list, id)
      retried = retried + 1
    end
  end
end
return {#ids, retried, kept}
