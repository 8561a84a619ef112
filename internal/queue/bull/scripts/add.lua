-- add adds one job.
-- KEYS: 1 wait, 2 paused, 3 meta-paused, 4 id (the counter), 5 delayed, 6 priority
-- ARGV: 1 base, 2 id or '', 3 name, 4 data, 5 opts, 6 timestamp (ms), 7 delay (ms), 8 priority, 9 LPUSH or RPUSH, 10 token
-- Returns {id, 1 if it was added or 0 if the queue knew the id}.
local base, id = ARGV[1], ARGV[2]
local timestamp, delay, priority, token = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[10]

local counter = redis.call('INCR', KEYS[4])
if id == '' then
  id = integer(counter)
elseif redis.call('EXISTS', base .. id) == 1 then
  redis.call('PUBLISH', base .. 'duplicated@' .. token, id)
  return {id, 0}
end

redis.call('HSET', base .. id, 'name', ARGV[3], 'data', ARGV[4], 'opts', ARGV[5],
  'timestamp', ARGV[6], 'delay', ARGV[7], 'priority', ARGV[8])

if delay > 0 then
  -- The low 12 bits keep jobs that are due in the same millisecond in the order of their adding.
  local score = (timestamp + delay) * 4096 + counter % 4096
  redis.call('ZADD', KEYS[5], integer(score), id)
  redis.call('PUBLISH', KEYS[5], integer(timestamp + delay))
else
  insert(target(KEYS[1], KEYS[2], KEYS[3]), KEYS[6], priority, id, ARGV[9])
  redis.call('PUBLISH', base .. 'waiting@' .. token, id)
end
return {id, 1}
