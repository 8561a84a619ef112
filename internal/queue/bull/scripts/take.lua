-- take makes a job active, if the rate limiter lets it.
-- KEYS: 1 wait, 2 active, 3 priority, 4 stalled, 5 delayed, 6 limiter, 7 paused, 8 meta-paused, 9 the channel active@
-- ARGV: 1 base, 2 id that a blocking pop has put into active, or '' for the next one, 3 token, 4 lock time (ms), 5 now (ms),
--       6 how many jobs may start, or '' for no limit, 7 within which time (ms), 8 '1' to count each group by itself
-- Returns {fields as read by lib.lua and then the id, or nil; {ids without a job, dropped}; id of a repeatable job that is
-- next, and left there, or nil}.
local base, id, now = ARGV[1], ARGV[2], ARGV[5]

-- admit counts a start, or puts the job into delayed. A job that was put there before is let in first: while there are
-- such jobs, others queue up behind them. The counter, its end and the sets are those of Bull's workers.
local function admit(job)
  local max, duration = tonumber(ARGV[6]), tonumber(ARGV[7])
  local window = KEYS[6]
  local group = ARGV[8] == '1' and string.match(job, '[^:]+$')
  if group then window = window .. ':' .. group end
  local set, index, pause = window .. ':limited', KEYS[6] .. ':index', 0

  if redis.call('SREM', set, job) == 1 then
    redis.call('HDEL', index, job)
  else
    local ahead = redis.call('SCARD', set)
    if ahead > 0 then
      pause = ahead * duration * 1.1 / max + redis.call('PTTL', window)
    end
  end
  local started = tonumber(redis.call('GET', window) or 0) or 0
  if pause == 0 and started >= max then
    pause = redis.call('PTTL', window) + (started - max) * duration / max
  end
  if pause <= 0 then
    if started == 0 then
      redis.call('SET', window, 1, 'PX', duration)
    else
      redis.call('INCR', window)
    end
    return true
  end

  local due = tonumber(now) + pause
  redis.call('ZADD', KEYS[5], exact(due * 4096 + started % 4096), job)
  redis.call('PUBLISH', KEYS[5], exact(due))
  redis.call('SADD', set, job)
  redis.call('HSET', index, job, set)
  redis.call('LREM', KEYS[2], 1, job)
  return false
end

if id == '' then
  id = nil
elseif redis.call('EXISTS', base .. id .. ':lock') == 1 or redis.call('LREM', KEYS[2], 1, id) == 0 then
  -- The pop was so long ago that the stalled check has returned the job: it waits again, or somebody else runs it.
  return {false, {}, false}
elseif is_repeatable(id) then
  redis.call('RPUSH', target(KEYS[1], KEYS[7], KEYS[8]), id)
  return {false, {}, id}
else
  redis.call('LPUSH', KEYS[2], id)
  redis.call('SREM', KEYS[4], id)
end

local dropped = {}
for _ = 1, 100 do
  if not id then
    id = redis.call('LINDEX', KEYS[1], -1)
    if not id then
      redis.call('PUBLISH', base .. 'drained', '')
      break
    end
    if is_repeatable(id) then return {false, dropped, id} end
    redis.call('RPOPLPUSH', KEYS[1], KEYS[2])
  end
  local fields = read(base, KEYS[2], id)
  redis.call('ZREM', KEYS[3], id)
  if fields then
    if ARGV[6] ~= '' and not admit(id) then break end
    start(base, KEYS[9], id, ARGV[3], ARGV[4], now)
    fields[#fields + 1] = id
    return {fields, dropped, false}
  end
  dropped[#dropped + 1] = id
  id = nil
end
return {false, dropped, false}
