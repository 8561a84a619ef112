-- take hands out the next turns of a rate (GCRA), unless the first of them is too far away, and keeps the list of workers.
-- KEYS: 1 next: when the next turn would be if all were evenly spread (µs), 2 workers: worker → when it is forgotten (ms)
-- ARGV: 1 worker, 2 time between two turns (µs, may have a fraction), 3 how many turns at most, 4 by how much turns may be
--       early after a quiet time (µs), 5 how far away a turn may be to be handed out, and the last from the first (µs),
--       6 by how much a turn may be late without being lost (µs), 7 not before: µs from now, 8 how long a worker stays on
--       the list (ms)
-- Returns {turns handed out, µs until the first (negative: its time has come), next after that, next before, how many
-- workers there are}.
keep(KEYS[2], ARGV[1], ARGV[8])
local workers = redis.call('ZCARD', KEYS[2])

local every, most, early, horizon = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local before = tonumber(redis.call('GET', KEYS[1]) or 0)
local base = before
-- What was not used for longer than that is gone, but for the burst.
if base < now - tonumber(ARGV[6]) then base = now end
base = math.max(base, now + tonumber(ARGV[7]))

local first = base - early
if first > now + horizon then
  return {0, integer(first - now), integer(before), integer(before), workers}
end
local turns = math.min(most, 1 + math.floor((math.max(first, now) + horizon - first) / every))
local after = base + turns * every
move(KEYS[1], after)
return {turns, integer(first - now), integer(after), integer(base), workers}
