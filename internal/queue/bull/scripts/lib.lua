-- lib.lua comes before every other script. Keys of single jobs, locks, windows of the limiter and debounce ids are derived
-- from the queue's base, "<prefix>:<queue>:", so on a cluster prefix or queue must carry a hash tag.

-- integer renders a number without exponent and without losing digits.
local function integer(n)
  return string.format('%.0f', n)
end

-- exact renders a number that may have a fraction, as Redis renders scores.
local function exact(n)
  return string.format('%.17g', n)
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
  redis.call('ZADD', priorities, exact(priority), id)
  local ahead = redis.call('ZCOUNT', priorities, 0, exact(priority)) - 1
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
  if redis.call('TYPE', job).ok ~= 'hash' then return -1 end
  local owner = redis.call('GET', lock)
  if owner == token then return 0 end
  if owner then return -6 end
  return -2
end

-- leave_active checks that the token owns the job and takes it out of active. Returns 0, -1 (no hash), -2 (no lock), -6
-- (somebody else's lock) or -3 (not active), and with 0 the job's priority and debounce id. Nothing but the lock has
-- changed unless it returns 0. A job that runs has processedOn; a key of another type is as good as none.
local function leave_active(base, active, stalled, id, token)
  local job = base .. id
  local fields = redis.pcall('HMGET', job, 'processedOn', 'priority', 'deid')
  if fields.err or not fields[1] then return -1 end
  local owner = redis.call('GET', job .. ':lock')
  if owner ~= token then return owner and -6 or -2 end
  redis.call('DEL', job .. ':lock')
  redis.call('SREM', stalled, id)
  if redis.call('LREM', active, -1, id) == 0 then return -3 end
  return 0, tonumber(fields[2] or 0) or 0, fields[3]
end

-- delay puts an id into the delayed set, by score, and announces when it is due (ms; the low bits are a fraction).
local function delay(set, id, score)
  redis.call('ZADD', set, score, id)
  redis.call('PUBLISH', set, exact(tonumber(score) / 4096))
end

-- free_debounce lets the debounce id of a finished job be used again, unless it has a time of its own.
local function free_debounce(base, name)
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

-- trim forgets finished jobs: those older than age seconds (0: no limit), then those beyond the newest count (-1: no
-- limit). At most 1000 a call, so that a first trim does not hold up Redis.
local function trim(base, set, now, age, count)
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

-- keep files a finished job, or deletes it (count 0), and trims the set.
local function keep(base, set, id, now, age, count)
  if count == 0 then
    redis.call('DEL', base .. id, base .. id .. ':logs')
    return
  end
  redis.call('ZADD', set, integer(now), id)
  trim(base, set, now, age, count)
end

-- measure counts finished jobs in the metrics of their state: a total, and one number per minute, the newest at the left,
-- of which at most `points` are kept. A minute's number is written when the first job of a later minute finishes: how many
-- finished since the number before, that one not included. Minutes without any are zeroes.
local function measure(metrics, now, points, jobs)
  if points == 0 or jobs == 0 then return end
  local before = redis.call('HINCRBY', metrics, 'count', jobs) - jobs
  local last = redis.call('HMGET', metrics, 'prevTS', 'prevCount')
  if not last[1] then
    redis.call('HSET', metrics, 'prevTS', integer(now), 'prevCount', '0')
    return
  end
  local minutes = math.min(math.floor(now / 60000) - math.floor(tonumber(last[1]) / 60000), points)
  if minutes <= 0 then return end
  redis.call('LPUSH', metrics .. ':data', integer(before - (tonumber(last[2]) or 0)))
  for _ = 2, minutes do redis.call('LPUSH', metrics .. ':data', '0') end
  redis.call('LTRIM', metrics .. ':data', 0, points - 1)
  redis.call('HSET', metrics, 'prevCount', integer(before), 'prevTS', integer(now))
end

local call, try = redis.call, redis.pcall -- globals cost a look-up each, in what runs for every job

-- is_repeatable tells by its id that a job is one of a series. None is ever taken: whoever takes one has to add the next.
local function is_repeatable(id)
  return string.sub(id, 1, 7) == 'repeat:'
end

-- read returns the fields of a job that a run needs, or nil if there is no job: its hash is gone, is no hash, or has no
-- data. Such a job was lost by eviction or a flush; running it would only leave a ghost that blocks the id for ever.
-- Then what is left of it is deleted, and its id taken out of active.
local function read(base, active, id)
  local job = base .. id
  local fields = try('HMGET', job, 'data', 'name', 'opts', 'timestamp', 'attemptsMade', 'stalledCounter',
    'stacktrace', 'deid')
  if not fields.err then
    if fields[1] and fields[1] ~= '' then return fields end
    call('DEL', job, job .. ':lock', job .. ':logs')
  end
  call('LREM', active, 0, id)
  return nil
end

-- start locks a job that is in active, and tells that it runs, on a channel whose name ends with who says so.
local function start(base, channel, id, token, ttl, now)
  local job = base .. id
  call('SET', job .. ':lock', token, 'PX', ttl)
  call('PUBLISH', channel, id)
  call('HSET', job, 'processedOn', now)
end
