-- add adds one job as a BullMQ 5 or 6 producer does.
-- KEYS: 1 wait, 2 paused, 3 meta, 4 id (the counter), 5 delayed, 6 active, 7 events (a stream), 8 marker, 9 prioritized,
--       10 pc (the counter of prioritized jobs)
-- ARGV: 1 base ("<prefix>:<queue>:"), 2 id or '', 3 name, 4 data, 5 opts, 6 timestamp (ms), 7 delay (ms), 8 priority,
--       9 LPUSH or RPUSH, 10 major version of the workers (0: as meta says), 11 events to keep where meta does not say
-- Returns {id, 1 if it was added or 0 if the queue knew the id}.
-- The job's own key is base .. id, so on a cluster prefix or queue must carry a hash tag.
local base, id = ARGV[1], ARGV[2]
local timestamp, delay, priority, major = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[10])

-- integer renders a number without exponent and without losing digits.
local function integer(n)
  return string.format('%.0f', n)
end

local counter = redis.call('INCR', KEYS[4])
local meta = redis.call('HMGET', KEYS[3], 'opts.maxLenEvents', 'version', 'paused', 'concurrency')
local max_events = meta[1]
if not max_events then
  max_events = ARGV[11]
  redis.call('HSET', KEYS[3], 'opts.maxLenEvents', max_events)
end
if major == 0 then
  -- A version that nobody has told is taken for 5: workers of 6 empty the list paused, too, when the queue is resumed,
  -- while what stands in wait is lost when a queue of 5 is.
  major = tonumber(string.match(meta[2] or '', '^bullmq:(%d+)') or '5')
end

local function event(...)
  redis.call('XADD', KEYS[7], 'MAXLEN', '~', max_events, '*', 'event', ...)
end

if id == '' then
  id = integer(counter)
elseif redis.call('EXISTS', base .. id) == 1 then
  event('duplicated', 'jobId', id)
  return {id, 0}
end

redis.call('HSET', base .. id, 'name', ARGV[3], 'data', ARGV[4], 'opts', ARGV[5],
  'timestamp', ARGV[6], 'delay', ARGV[7], 'priority', ARGV[8])
event('added', 'jobId', id, 'name', ARGV[3])

if delay > 0 then
  -- Of jobs that are due in the same millisecond, each goes behind the last: the score has 12 bits for that.
  local due = timestamp + delay
  local score, most = due * 4096, due * 4096 + 4095
  local last = redis.call('ZREVRANGEBYSCORE', KEYS[5], integer(most), integer(score), 'WITHSCORES', 'LIMIT', 0, 1)
  if last[2] then score = math.min(tonumber(last[2]) + 1, most) end
  redis.call('ZADD', KEYS[5], integer(score), id)
  event('delayed', 'jobId', id, 'delay', integer(due))
  -- Member 1 of the marker wakes a worker when the first delayed job is due.
  local first = redis.call('ZRANGE', KEYS[5], 0, 0, 'WITHSCORES')
  redis.call('ZADD', KEYS[8], string.format('%.17g', tonumber(first[2]) / 4096), '1')
  return {id, 1}
end

local paused, concurrency = meta[3], tonumber(meta[4] or '')
if priority > 0 then
  -- By priority, and first come first served among equals.
  redis.call('ZADD', KEYS[9], integer(priority * 4294967296 + redis.call('INCR', KEYS[10]) % 4294967296), id)
elseif paused and major < 6 then
  redis.call(ARGV[9], KEYS[2], id)
else
  redis.call(ARGV[9], KEYS[1], id)
end
-- Member 0 of the marker wakes a worker at once; none may take a job while the queue is paused, or full.
if not paused and not (concurrency and redis.call('LLEN', KEYS[6]) >= concurrency) then
  redis.call('ZADD', KEYS[8], 0, '0')
end
event('waiting', 'jobId', id)
return {id, 1}
