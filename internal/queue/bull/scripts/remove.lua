-- remove deletes a job that no worker holds, and every trace of it.
-- KEYS: 1 wait, 2 paused, 3 active, 4 delayed, 5 completed, 6 failed, 7 priority, 8 stalled, 9 limiter:index
-- ARGV: 1 base, 2 id
-- Returns 0, -1 (there is neither a hash nor anything that refers to the id) or -5 (locked). Nothing has changed unless it
-- returns 0.
local base, id = ARGV[1], ARGV[2]
local job = base .. id
if redis.call('EXISTS', job .. ':lock') == 1 then return -5 end

local found = 0
for i = 1, 3 do found = found + redis.call('LREM', KEYS[i], 0, id) end
for i = 4, 7 do found = found + redis.call('ZREM', KEYS[i], id) end
redis.call('SREM', KEYS[8], id)

local limited = redis.call('HGET', KEYS[9], id)
if limited then
  redis.call('SREM', limited, id)
  redis.call('HDEL', KEYS[9], id)
end

-- The debounce id may be another job's by now.
local debounce = redis.call('HGET', job, 'deid')
if debounce and redis.call('GET', base .. 'de:' .. debounce) == id then
  redis.call('DEL', base .. 'de:' .. debounce)
end
found = found + redis.call('DEL', job, job .. ':logs')
if found == 0 then return -1 end
return 0
