-- lib.lua comes before every other script. Keys of single jobs are derived from the queue's base, "<prefix>:<queue>:",
-- so on a cluster prefix or queue must carry a hash tag.

-- integer renders a number without exponent and without losing digits.
local function integer(n)
  return string.format('%.0f', n)
end

-- target is the list for jobs that are ready: paused while the queue is paused, else wait.
local function target(wait, paused, meta_paused)
  if redis.call('EXISTS', meta_paused) == 1 then return paused end
  return wait
end

-- insert puts an id into a list of ready jobs. Lists run from right to left: prioritized ids are at the right, by
-- priority, first come first served among equals.
local function insert(list, priorities, priority, id, push)
  if priority <= 0 then
    redis.call(push, list, id)
    return
  end
  redis.call('ZADD', priorities, integer(priority), id)
  local ahead = redis.call('ZCOUNT', priorities, 0, integer(priority)) - 1
  local pivot = redis.call('LINDEX', list, redis.call('LLEN', list) - ahead)
  if pivot then
    redis.call('LINSERT', list, 'BEFORE', pivot, id)
  else
    redis.call('RPUSH', list, id)
  end
end

-- priority_of reads the priority from the hash, which rules over the options.
local function priority_of(job)
  return tonumber(redis.call('HGET', job, 'priority') or 0) or 0
end

-- held checks that the token owns a job. Returns 0, -1 (no hash), -2 (there is no lock) or -6 (somebody else's).
local function held(job, lock, token)
  if redis.call('EXISTS', job) == 0 then return -1 end
  local owner = redis.call('GET', lock)
  if owner == token then return 0 end
  if owner then return -6 end
  return -2
end

-- delay puts an id into the delayed set, by score, and announces when it is due (ms, with the low bits as a fraction).
local function delay(set, id, score)
  redis.call('ZADD', set, score, id)
  redis.call('PUBLISH', set, string.format('%.17g', tonumber(score) / 4096))
end

-- unlock ends the lock that the token owns. Returns 0, -2 (there is no lock) or -6 (somebody else's).
local function unlock(base, stalled, id, token)
  local owner = redis.call('GET', base .. id .. ':lock')
  if owner == token then
    redis.call('DEL', base .. id .. ':lock')
    redis.call('SREM', stalled, id)
    return 0
  end
  if owner then return -6 end
  return -2
end

-- leave_active checks that the token owns the job and takes it out of active. Returns 0, -1 (no hash), -2, -6 or -3 (not
-- active). Nothing but the lock has changed unless it returns 0.
local function leave_active(base, active, stalled, id, token)
  if redis.call('EXISTS', base .. id) == 0 then return -1 end
  local code = unlock(base, stalled, id, token)
  if code ~= 0 then return code end
  if redis.call('LREM', active, -1, id) == 0 then return -3 end
  return 0
end

-- free_debounce lets the debounce id of a finished job be used again, unless it has a time of its own.
local function free_debounce(base, id)
  local name = redis.call('HGET', base .. id, 'deid')
  if name and redis.call('PTTL', base .. 'de:' .. name) == -1 then
    redis.call('DEL', base .. 'de:' .. name)
  end
end

-- forget deletes all that there is of some finished jobs.
local function forget(base, set, ids)
  for _, id in ipairs(ids) do
    redis.call('DEL', base .. id, base .. id .. ':logs')
    redis.call('ZREM', set, id)
  end
end

-- keep files a finished job, or deletes it (count 0), and trims the set: what is older than age seconds (0: no limit),
-- then what is beyond the newest count (-1: no limit). At most 1000 a call, so that a first trim does not hold up Redis.
local function keep(base, set, id, now, age, count)
  if count == 0 then
    redis.call('DEL', base .. id, base .. id .. ':logs')
    return
  end
  redis.call('ZADD', set, integer(now), id)
  if age > 0 then
    forget(base, set, redis.call('ZRANGEBYSCORE', set, '-inf', integer(now - age * 1000), 'LIMIT', 0, 1000))
  end
  if count > 0 then
    local beyond = redis.call('ZCARD', set) - count
    if beyond > 0 then
      forget(base, set, redis.call('ZRANGE', set, 0, math.min(beyond, 1000) - 1))
    end
  end
end

-- take locks the job with this id, or (id nil) the next waiting one, and returns id, fields and the ids that it dropped:
-- an id whose hash is gone, or whose hash has no data, was lost by eviction or a flush; running it would only leave a
-- ghost that blocks the id for ever.
local function take(base, wait, active, priorities, stalled, id, token, ttl, now)
  local dropped = {}
  for _ = 1, 100 do
    if not id then
      id = redis.call('RPOPLPUSH', wait, active)
      if not id then return false, false, dropped end
    end
    local job = base .. id
    local data = redis.pcall('HGET', job, 'data')
    redis.call('SREM', stalled, id)
    redis.call('ZREM', priorities, id)
    if type(data) == 'string' and data ~= '' then
      redis.call('SET', job .. ':lock', token, 'PX', ttl)
      redis.call('PUBLISH', base .. 'active@' .. token, id)
      redis.call('HSET', job, 'processedOn', now)
      return id, redis.call('HGETALL', job), dropped
    end
    redis.call('LREM', active, 0, id)
    if type(data) ~= 'table' then
      redis.call('DEL', job, job .. ':lock', job .. ':logs')
    end
    dropped[#dropped + 1] = id
    id = nil
  end
  return false, false, dropped
end
