-- extend renews locks.
-- KEYS: 1 stalled
-- ARGV: 1 base, 2 lock time (ms), then for each job its id and its token
-- Returns for each job 1, or 0 if the lock is gone or somebody else's.
local held = {}
for i = 3, #ARGV, 2 do
  local lock = ARGV[1] .. ARGV[i] .. ':lock'
  local mine = redis.call('GET', lock) == ARGV[i + 1]
  if mine then
    redis.call('SET', lock, ARGV[i + 1], 'PX', ARGV[2])
    redis.call('SREM', KEYS[1], ARGV[i])
  end
  held[#held + 1] = mine and 1 or 0
end
return held
