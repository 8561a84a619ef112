-- pause pauses or resumes the queue for all workers: what is ready to run is in paused while it is paused, else in wait.
-- KEYS: 1 wait, 2 paused, 3 meta-paused, 4 meta, 5 priority
-- ARGV: 1 base, 2 'paused' or 'resumed'
-- Returns how many jobs are ready to run.
local from, to = KEYS[1], KEYS[2]
if ARGV[2] == 'resumed' then
  from, to = KEYS[2], KEYS[1]
end

-- running_order lists ids as workers would take them, each with its priority; jobs without one come last.
local function running_order(list, prioritized)
  local ids, order = redis.call('LRANGE', list, 0, -1), {}
  for i = #ids, 1, -1 do
    local priority = prioritized and redis.call('ZSCORE', KEYS[5], ids[i])
    order[#order + 1] = {id = ids[i], priority = tonumber(priority or math.huge)}
  end
  return order
end

-- merge joins both lists when neither is empty, as after somebody has pushed to wait while the queue was paused. A RENAME
-- would drop one of them. What was paused counts as older.
local function merge()
  local prioritized = redis.call('EXISTS', KEYS[5]) == 1
  local older, newer = running_order(KEYS[2], prioritized), running_order(KEYS[1], prioritized)
  local ids, o, n = {}, 1, 1
  while older[o] or newer[n] do
    if older[o] and (not newer[n] or older[o].priority <= newer[n].priority) then
      ids[#ids + 1] = older[o].id
      o = o + 1
    else
      ids[#ids + 1] = newer[n].id
      n = n + 1
    end
  end
  redis.call('DEL', from, to)
  for i = 1, #ids, 1000 do
    redis.call('LPUSH', to, unpack(ids, i, math.min(i + 999, #ids)))
  end
end

if redis.call('EXISTS', from) == 1 and redis.call('RENAMENX', from, to) == 0 then
  merge()
end
if ARGV[2] == 'paused' then
  redis.call('SET', KEYS[3], '1')
  redis.call('HSET', KEYS[4], 'paused', '1')
else
  redis.call('DEL', KEYS[3])
  redis.call('HDEL', KEYS[4], 'paused')
end
redis.call('PUBLISH', ARGV[1] .. ARGV[2], ARGV[2])
return redis.call('LLEN', to)
