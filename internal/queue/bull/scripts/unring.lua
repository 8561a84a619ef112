-- unring deletes jobs that are ready to run or delayed, as job.remove() does one. All others are left alone: those that
-- run, have finished, or are in no list.
-- KEYS: 1 wait, 2 paused, 3 delayed, 4 completed, 5 failed, 6 priority, 7 limiter:index
-- ARGV: 1 base, 2… ids
-- Returns how many it deleted.
local base = ARGV[1]
local open, left, gone = {}, 0, {}

for i = 2, #ARGV do
  local id = ARGV[i]
  if not open[id] and call('EXISTS', base .. id .. ':lock') == 0 then
    if call('ZREM', KEYS[3], id) == 1 then
      gone[#gone + 1] = id
    else
      open[id] = true
      left = left + 1
    end
  end
end

-- take walks a list once for all ids: LREM would, for each. It begins with the latest.
local function take(list)
  local mark, from, found = base .. ':unring', 0, false
  while left > 0 do
    local ids = call('LRANGE', list, from, from + 999)
    for i, id in ipairs(ids) do
      if open[id] then
        call('LSET', list, from + i - 1, mark)
        gone[#gone + 1] = id
        open[id], left, found = nil, left - 1, true
      end
    end
    if #ids < 1000 then break end
    from = from + 1000
  end
  if found then call('LREM', list, 0, mark) end
end
take(KEYS[1])
take(KEYS[2])

for _, id in ipairs(gone) do
  local job = base .. id
  call('ZREM', KEYS[4], id)
  call('ZREM', KEYS[5], id)
  call('ZREM', KEYS[6], id)
  local limited = call('HGET', KEYS[7], id)
  if limited then
    call('SREM', limited, id)
    call('HDEL', KEYS[7], id)
  end
  -- The debounce id may be another job's by now.
  local debounce = try('HGET', job, 'deid')
  if type(debounce) == 'string' and call('GET', base .. 'de:' .. debounce) == id then
    call('DEL', base .. 'de:' .. debounce)
  end
  call('DEL', job, job .. ':logs')
end
return #gone
