-- take makes a job active.
-- KEYS: 1 wait, 2 active, 3 priority, 4 stalled
-- ARGV: 1 base, 2 id that a blocking pop has put into active, or '' for the next one, 3 token, 4 lock time (ms), 5 now (ms)
-- Returns {id or nil, {field, value, …} or nil, {dropped ids}}.
local base = ARGV[1]
local id = ARGV[2]
if id == '' then
  id = nil
elseif redis.call('LREM', KEYS[2], 1, id) == 0 then
  -- The pop was so long ago that the stalled check has returned the job, which somebody else may run by now.
  return {false, false, {}}
else
  redis.call('LPUSH', KEYS[2], id)
end
local taken, fields, dropped = take(base, KEYS[1], KEYS[2], KEYS[3], KEYS[4], id, ARGV[3], ARGV[4], ARGV[5])
if not taken then
  redis.call('PUBLISH', base .. 'drained', '')
end
return {taken, fields, dropped}
