-- stalled looks for active jobs whose lock ran out: those that were marked by the call before and still have none run
-- again, or fail once they stalled too often. Then it marks what is active now. All workers together do it once an interval.
-- KEYS: 1 stalled, 2 stalled-check, 3 active, 4 wait, 5 paused, 6 meta-paused, 7 failed
-- ARGV: 1 base, 2 now (ms), 3 how often a job may stall, 4 interval (ms)
-- Returns {{failed ids}, {ids that run again}, {dropped ids}}.
local base, now, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if redis.call('EXISTS', KEYS[2]) == 1 then return {{}, {}, {}} end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[4])

-- what removeOnFail of the options keeps: age and count, as keep takes them. Whatever can't be read keeps all.
local function rule(job)
  local ok, opts = pcall(cjson.decode, redis.call('HGET', job, 'opts') or '{}')
  local r = ok and type(opts) == 'table' and opts.removeOnFail
  if r == true then return 0, 0 end
  if type(r) == 'number' then return 0, r end
  if type(r) == 'table' then
    local age, count = tonumber(r.age), tonumber(r.count)
    if age and age <= 0 then return 0, 0 end
    return age or 0, count or -1
  end
  return 0, -1
end

local function fail(id)
  local job = base .. id
  redis.call('HSET', job, 'failedReason', 'job stalled more than allowable limit', 'finishedOn', ARGV[2])
  free_debounce(base, redis.call('HGET', job, 'deid'))
  keep(base, KEYS[7], id, now, rule(job))
  redis.call('PUBLISH', KEYS[7], cjson.encode({jobId = id, val = 'job stalled more than maxStalledCount'}))
end

local failed, again, dropped = {}, {}, {}
local list = target(KEYS[4], KEYS[5], KEYS[6])
for _, id in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local job = base .. id
  if redis.call('EXISTS', job .. ':lock') == 0 and redis.call('LREM', KEYS[3], 1, id) > 0 then
    if redis.call('TYPE', job).ok ~= 'hash' then
      dropped[#dropped + 1] = id
    elseif redis.call('HINCRBY', job, 'stalledCounter', 1) > limit then
      fail(id)
      failed[#failed + 1] = id
    else
      redis.call('RPUSH', list, id)
      redis.call('PUBLISH', base .. 'stalled@', id)
      again[#again + 1] = id
    end
  end
end
redis.call('DEL', KEYS[1])

local from = 0
while true do
  local ids = redis.call('LRANGE', KEYS[3], from, from + 999)
  if #ids > 0 then redis.call('SADD', KEYS[1], unpack(ids)) end
  if #ids < 1000 then break end
  from = from + 1000
end
return {failed, again, dropped}
