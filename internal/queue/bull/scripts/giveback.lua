-- giveback puts an active job back as the next to run, as if it had never been taken.
-- KEYS: 1 wait, 2 paused, 3 meta-paused, 4 active, 5 priority, 6 stalled
-- ARGV: 1 base, 2 id, 3 token, or '' for an id that was popped and never locked
-- Returns 0, or the code of leave_active.
local base, id, code, priority = ARGV[1], ARGV[2], 0, 0
if ARGV[3] ~= '' then
  code, priority = leave_active(base, KEYS[4], KEYS[6], id, ARGV[3])
elseif redis.call('TYPE', base .. id).ok ~= 'hash' then
  code = -1
elseif redis.call('EXISTS', base .. id .. ':lock') == 1 then
  code = -6
elseif redis.call('LREM', KEYS[4], -1, id) == 0 then
  code = -3
else
  redis.call('SREM', KEYS[6], id)
  priority = priority_of(base .. id)
end
if code ~= 0 then return code end
insert(target(KEYS[1], KEYS[2], KEYS[3]), KEYS[5], priority, id, 'RPUSH')
return 0
