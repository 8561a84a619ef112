-- later ends a run as if it had never begun, and puts the job into delayed.
-- KEYS: 1 active, 2 stalled, 3 delayed
-- ARGV: 1 base, 2 id, 3 token, 4 score
-- Returns 0, or the code of leave_active.
local code = leave_active(ARGV[1], KEYS[1], KEYS[2], ARGV[2], ARGV[3])
if code ~= 0 then return code end
delay(KEYS[3], ARGV[2], ARGV[4])
return 0
