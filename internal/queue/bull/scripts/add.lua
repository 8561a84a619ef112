-- add adds one job.
-- KEYS: 1 wait, 2 paused, 3 meta-paused, 4 id (the counter), 5 delayed, 6 priority
-- ARGV: 1 base, 2 id or '', 3 name, 4 data, 5 opts, 6 timestamp (ms), 7 delay (ms), 8 priority, 9 LPUSH or RPUSH, 10 token,
--       11 debounce id or '', 12 how long (ms) that holds or ''
-- Returns {id, 1 if it was added or 0 if the queue knew the id, or another job has the debounce id: then that one's id}.
local base, id = ARGV[1], ARGV[2]
local timestamp, delay, priority, token = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[10]

local counter = redis.call('INCR', KEYS[4])
if id == '' then
  id = integer(counter)
elseif redis.call('EXISTS', base .. id) == 1 then
  redis.call('PUBLISH', base .. 'duplicated@' .. token, id)
  return {id, 0}
end

if ARGV[11] ~= '' then
  local debounce = base .. 'de:' .. ARGV[11]
  local owner = redis.call('GET', debounce)
  -- One without a time of its own holds as long as its job; if that is gone, as after obliterate, it holds for ever.
  if owner and (redis.call('PTTL', debounce) ~= -1 or redis.call('EXISTS', base .. owner) == 1) then
    redis.call('PUBLISH', base .. 'debounced@' .. token, owner)
    return {owner, 0}
  end
  redis.call('SET', debounce, id)
  if ARGV[12] ~= '' then redis.call('PEXPIRE', debounce, ARGV[12]) end
  redis.call('HSET', base .. id, 'deid', ARGV[11])
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
