-- promote makes delayed jobs that are due ready to run, at most 1000 a call.
-- KEYS: 1 delayed, 2 active, 3 wait, 4 paused, 5 meta-paused, 6 priority
-- ARGV: 1 base, 2 now (ms), 3 token
-- Returns {how many it moved, due time (ms) of the next one or -1}.
local base = ARGV[1]
local due = redis.call('ZRANGEBYSCORE', KEYS[1], 0, integer(tonumber(ARGV[2]) * 4096), 'LIMIT', 0, 1000)
local list = target(KEYS[3], KEYS[4], KEYS[5])
for _, id in ipairs(due) do
  local job = base .. id
  redis.call('ZREM', KEYS[1], id)
  redis.call('LREM', KEYS[2], 0, id)
  if redis.call('TYPE', job).ok == 'hash' then
    insert(list, KEYS[6], priority_of(job), id, 'LPUSH')
    redis.call('PUBLISH', base .. 'waiting@' .. ARGV[3], id)
    redis.call('HSET', job, 'delay', '0')
  end
end

local next_due = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
if not next_due then return {#due, -1} end
next_due = tonumber(next_due) / 4096
redis.call('PUBLISH', KEYS[1], exact(next_due))
return {#due, math.floor(next_due)}
