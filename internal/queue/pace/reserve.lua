-- reserve hands out the next slots of an account, and keeps the list of its workers.
-- KEYS: 1 next: when the next free slot begins (µs), 2 workers: worker → when it is forgotten (ms)
-- ARGV: 1 worker, 2 interval (µs), 3 how many slots (0: only stay on the list), 4 not before: µs from now,
--       5 how long a worker stays on the list (ms)
-- Returns {µs until the first slot begins, Redis's time (µs), rank of this worker from 0, how many workers there are}.
keep(KEYS[2], ARGV[1], ARGV[5])
-- By name, so that every worker sees the same order whoever was last to call.
local workers = redis.call('ZRANGE', KEYS[2], 0, -1)
table.sort(workers)
local rank = 0
for i, worker in ipairs(workers) do
  if worker == ARGV[1] then rank = i - 1 end
end

local slots, first = tonumber(ARGV[3]), now
if slots > 0 then
  first = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now + tonumber(ARGV[4]))
  local after = first + slots * tonumber(ARGV[2])
  move(KEYS[1], after)
end
return {integer(first - now), integer(now), rank, #workers}
