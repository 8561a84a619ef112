-- unring deletes jobs that are ready to run, prioritized or delayed, as job.remove() does one. All others are left alone:
-- those that run, have finished, are in no list, have a parent, or belong to a scheduler.
-- KEYS: 1 wait, 2 paused, 3 delayed, 4 prioritized, 5 meta, 6 events (a stream)
-- ARGV: 1 base, 2 events to keep where meta does not say, 3… ids
-- Returns how many it deleted.
local base = ARGV[1]
local open, from_list, left = {}, {}, 0

for i = 3, #ARGV do
  local id = ARGV[i]
  local job = base .. id
  local ties = redis.call('HMGET', job, 'parentKey', 'rjk')
  if not from_list[id] and not open[id] and not (ties[1] or ties[2]) and redis.call('EXISTS', job .. ':lock') == 0 then
    if redis.call('ZREM', KEYS[3], id) == 1 then
      from_list[id] = 'delayed'
    elseif redis.call('ZREM', KEYS[4], id) == 1 then
      from_list[id] = 'prioritized'
    else
      open[id] = true
      left = left + 1
    end
  end
end

-- take walks a list once for all ids: LREM would, for each. It begins with the latest.
local function take(list, name)
  local mark, from, found = base .. ':unring', 0, false
  while left > 0 do
    local ids = redis.call('LRANGE', list, from, from + 999)
    for i, id in ipairs(ids) do
      if open[id] then
        redis.call('LSET', list, from + i - 1, mark)
        open[id], from_list[id], found = nil, name, true
        left = left - 1
      end
    end
    if #ids < 1000 then break end
    from = from + 1000
  end
  if found then redis.call('LREM', list, 0, mark) end
end
take(KEYS[1], 'wait')
take(KEYS[2], 'paused')

local max_events = redis.call('HGET', KEYS[5], 'opts.maxLenEvents')
local gone = 0
for i = 3, #ARGV do
  local id = ARGV[i]
  local job, list = base .. id, from_list[id]
  from_list[id] = nil
  if list then
    local debounce = redis.call('HGET', job, 'deid')
    if debounce and redis.call('GET', base .. 'de:' .. debounce) == id then
      redis.call('DEL', base .. 'de:' .. debounce, base .. 'dn:' .. debounce)
    end
    local parts = redis.call('DEL', job, job .. ':logs', job .. ':dependencies', job .. ':processed', job .. ':failed',
      job .. ':unsuccessful')
    if parts > 0 then
      if not max_events then
        max_events = ARGV[2]
        redis.call('HSET', KEYS[5], 'opts.maxLenEvents', max_events)
      end
      redis.call('XADD', KEYS[6], 'MAXLEN', '~', max_events, '*', 'event', 'removed', 'jobId', id, 'prev', list)
    end
    gone = gone + 1
  end
end
return gone
